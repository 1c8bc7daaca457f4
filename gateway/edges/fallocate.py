"""(file, offset, count) -> blocks that are the file's own beyond its end, so that a full disk takes none of them."""

import ctypes
import errno
import os

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def set_room_apart(descriptor: int, offset: int, count: int) -> None:
    """fallocate(2), which posix_fallocate is not: the file's size stays. Raises OSError.

    A file system that cannot do it (NFS before 4.2, most of FUSE) is asked for its free space instead,
    which others may use up in the meantime.
    """
    if _fallocate(descriptor, _KEEP_SIZE, offset, count) == 0:
        return
    code = ctypes.get_errno()
    if code not in _UNKNOWN:
        raise OSError(code, os.strerror(code))
    room = os.fstatvfs(descriptor)
    if room.f_bavail * room.f_frsize < 2 * count:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
