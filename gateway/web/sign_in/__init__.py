"""The pages of signing in and out, and what one's own access is. Server-rendered; no script anywhere."""
