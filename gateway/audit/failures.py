"""Whatever keeps a line from being written -> the OSError that callers know, and what is said of it."""

import errno


def as_error(fault: Exception) -> OSError:
    """A fault of ours is no reason to let anything pass, nor to lose a line. Its text may hold anything."""
    return fault if isinstance(fault, OSError) else OSError(errno.EIO, type(fault).__name__)


def text_of(error: OSError) -> str:
    """Why, in a few words."""
    return error.strerror or str(error) or type(error).__name__


def again(error: OSError) -> OSError:
    """The same error, as a new object: one that is raised again and again would hold every traceback."""
    return OSError(error.errno, text_of(error))
