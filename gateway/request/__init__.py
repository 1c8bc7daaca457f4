"""Parts of a request head -> values that mean one thing. Pure, each by itself."""
