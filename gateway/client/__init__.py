"""The user's command line. It needs nothing of the server, and the server nothing of it."""
