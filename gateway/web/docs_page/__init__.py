"""The page on which people read the document that is true for them, and try its calls. The one page with scripts."""
