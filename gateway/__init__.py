"""The authenticating gateway in front of slurmrestd."""

__version__ = "0.1.0"
