"""A profile, or the environment -> the access token of the next request, renewed once for all processes."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.client.files import make_private_folder, read_secret_file
from gateway.client.token_store import Tokens, TokenStore
from gateway.client.trouble import Exit, Trouble

TOKEN, TOKEN_FILE = "SLURM_GATEWAY_TOKEN", "SLURM_GATEWAY_TOKEN_FILE"
LOCK_FILE = "lock"
_ENOUGH_SECONDS = 30.0
_LOCK_SECONDS = 60.0

Renew = Callable[[Tokens], Tokens]
"""Tokens that follow these. Raises Trouble, with Exit.NOT_PERMITTED where the sign-in is over."""


class GivenToken:
    """A token of the environment: used as it is, for as long as it lasts."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, *, refused: str = "") -> str:  # noqa: ARG002 (there is no other)
        """See AccessToken."""
        return self._token


class FileToken:
    """A token that something else keeps fresh in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, *, refused: str = "") -> str:  # noqa: ARG002 (it is read anew anyway)
        """See AccessToken. The file is read anew each time."""
        return read_secret_file(self._path, "the access token")


class KeptToken:
    """A profile's token. Of many processes that find it too old, one renews it and the others take that."""

    def __init__(
        self, store: TokenStore, lock_file: Path, renew: Renew, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._lock_file = lock_file
        self._renew = renew
        self._now = now

    def __call__(self, *, refused: str = "") -> str:
        """See AccessToken."""
        tokens = self._read()
        if self._will_do(tokens, refused):
            return tokens.access_token
        with locked(self._lock_file):
            tokens = self._read()
            if not self._will_do(tokens, refused):
                tokens = self._renewed(tokens, refused)
        return tokens.access_token

    def _will_do(self, tokens: Tokens, refused: str) -> bool:
        is_new = tokens.access_token != refused
        return is_new and tokens.lasts(self._now(), _ENOUGH_SECONDS)

    def _renewed(self, tokens: Tokens, refused: str) -> Tokens:
        """The store is tried first: a refresh token works once, and its successor must not be lost."""
        try:
            self._store.write(tokens)
            renewed = self._renew(tokens)
        except Trouble as trouble:
            lasts = tokens.access_token != refused and tokens.lasts(self._now(), 0)
            if trouble.code is not Exit.NOT_PERMITTED and lasts:
                return tokens
            raise
        self._store.write(renewed)
        return renewed

    def _read(self) -> Tokens:
        tokens = self._store.read()
        if tokens is None:
            raise signed_out("You are not signed in here.")
        return tokens


def signed_out(sentence: str) -> Trouble:
    """Somebody has to sign in (again)."""
    return Trouble(Exit.NOT_PERMITTED, sentence, "sign in with: slurm-gateway login")


def environment_token(environ: Mapping[str, str]) -> GivenToken | FileToken | None:
    """The token that a CI job was given; None where there is none."""
    if token := environ.get(TOKEN, "").strip():
        return GivenToken(token)
    if file := environ.get(TOKEN_FILE, ""):
        return FileToken(Path(file))
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, for whatever changes a profile's tokens. Raises Trouble."""
    from filelock import FileLock, Timeout

    try:
        make_private_folder(path.parent)
        with FileLock(path, timeout=_LOCK_SECONDS, mode=0o600):
            yield
    except Timeout:
        raise Trouble(
            Exit.UNAVAILABLE, "Another process of yours has been changing the sign-in for a minute."
        ) from None
    except OSError as error:
        raise Trouble(Exit.LOCAL_FILE, f"{path} cannot be locked: {error.strerror}.") from None
