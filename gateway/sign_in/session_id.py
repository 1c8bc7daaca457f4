"""Keys -> ids of sessions, which nobody else can make: others are told without a look into the store."""

import base64
import hmac
import os
from collections.abc import Sequence
from typing import Final

from gateway.sign_in.sealing import derived_key

_RANDOM_BYTES: Final = 16
_MARK_BYTES: Final = 16
"""Of HMAC-SHA256 over the random ones; both together are 43 characters of base64url."""


class SessionIds:
    """The first key makes ids, all keys know theirs: that is how keys are replaced."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [derived_key(key, "session ids") for key in keys]

    def new(self) -> str:
        """For a cookie."""
        return _marked(os.urandom(_RANDOM_BYTES), self._keys[0])

    def are_ours(self, session_id: str) -> bool:
        """Whether it was made with one of the keys. A session of it may be over, or never have been."""
        try:
            random = base64.b64decode(session_id + "=", b"-_", validate=True)[:_RANDOM_BYTES]
        except ValueError:
            return False
        return any(hmac.compare_digest(session_id, _marked(random, key)) for key in self._keys)


def _marked(random: bytes, key: bytes) -> str:
    mark = hmac.digest(key, random, "sha256")[:_MARK_BYTES]
    return base64.urlsafe_b64encode(random + mark).rstrip(b"=").decode()
