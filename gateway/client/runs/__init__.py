"""One module for each command that asks a gateway; none is loaded before its command is run."""
