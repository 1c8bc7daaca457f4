"""users.toml -> its rows, re-read when it changes; a broken new file keeps the old rows."""

import time
from pathlib import Path

from gateway.edges.edited_file import EditedFile
from gateway.model import Clock
from gateway.users.rows import UserRows, read_user_rows

_MAXIMUM_TABLE_BYTES = 16 * 1024 * 1024


class UserTableFile:
    """A UserTable. Raises FileUnusable where there is no good table at the start."""

    def __init__(self, path: Path, now: Clock = time.time) -> None:
        self._file: EditedFile[UserRows] = EditedFile(path, _read_table, _MAXIMUM_TABLE_BYTES, now)

    def __call__(self) -> UserRows:
        """The rows of the newest good version."""
        return self._file.content

    def state(self) -> str:
        """Why the newest version is not in use; empty if it is."""
        return self._file.error

    async def keep_fresh(self) -> None:
        """Look for changes for ever; run it as a task."""
        await self._file.keep_fresh()


def _read_table(raw: bytes) -> UserRows:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
    return read_user_rows(text)
