"""A file of the state directory -> the key that tokens are hashed with for the audit."""

import os
from pathlib import Path

_KEY_BYTES = 32


def load_or_create_hash_key(path: Path) -> bytes:
    """The key, made at the first start. It stays, so that old records can be looked up.

    Raises OSError, also for a file of the wrong size: a new key would hide that something is wrong.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise OSError(22, f"{path} has {len(key)} bytes instead of {_KEY_BYTES}") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        file.write(key := os.urandom(_KEY_BYTES))
    return key
