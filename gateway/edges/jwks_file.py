"""A JWK Set in a file -> an issuer's keys."""

import time
from collections.abc import Sequence
from pathlib import Path

from gateway.edges.discovery import MAXIMUM_DOCUMENT_BYTES
from gateway.edges.edited_file import EditedFile
from gateway.edges.jwks import KeyState
from gateway.model import Clock
from gateway.token.keys import KeySet, VerificationKey, read_key_set


class FileKeys:
    """The keys of a file that is re-read when it changes.

    A key that leaves the file stops verifying within about two seconds; a broken file leaves the
    last good keys in use. Raises FileUnusable where the file is unusable at the start.
    """

    def __init__(self, path: Path, now: Clock = time.time) -> None:
        self._file: EditedFile[KeySet] = EditedFile(path, read_key_set, MAXIMUM_DOCUMENT_BYTES, now)

    def holds(self, fingerprint: str) -> bool:
        """Whether this key is still in the file."""
        return fingerprint in self._file.content.fingerprints

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys with this kid, or all for None."""
        return self._file.content.matching(kid)

    def state(self) -> KeyState:
        """Of a file only what it holds, and why a newer version of it is not in use."""
        keys = self._file.content
        return KeyState(
            usable=True,
            keys=len(keys.keys),
            age_seconds=None,
            fetches=0,
            failures=0,
            error=self._file.error,
            skipped=keys.skipped,
        )

    async def keep_fresh(self) -> None:
        """Look for changes for ever; run it as a task."""
        await self._file.keep_fresh()

    async def close(self) -> None:
        """Nothing is held open."""
