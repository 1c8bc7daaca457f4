"""What the server's commands do, one module each; loaded only when the command is run."""
