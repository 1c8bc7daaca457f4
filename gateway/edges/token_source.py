"""A Slurm user -> a token for it that lies in a file or that a command prints."""

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gateway.edges.few_threads import FewThreads
from gateway.edges.one_flight import OneFlight
from gateway.edges.secret_file import OpenedFile, SecretFile, SecretUnusable, is_inside
from gateway.model import Clock
from gateway.slurm_token import MAXIMUM_TOKEN_CHARACTERS, SlurmToken, read_slurm_token
from gateway.stages.credential import MINIMUM_SECONDS_LEFT, CredentialDoubt

PLACEHOLDER = "{user}"
RETRY_SECONDS = 5.0
"""A command is not run again for the same user within this time, whether it failed or not."""
_COMMANDS_AT_ONCE = 4


class FileTokens:
    """A TokenSource: one file, or one a user where the path holds "{user}"; read again on change."""

    def __init__(
        self,
        path: str,
        threads: FewThreads,
        *,
        credentials_directory: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        maximum_users: int = 10_000,
    ) -> None:
        self._path = path
        self._threads = threads
        self._read = partial(_read_token_file, directory=credentials_directory)
        self._monotonic = monotonic
        self._maximum_users = maximum_users
        self._files: dict[str, SecretFile[SlurmToken]] = {}
        self._problem = ""

    async def __call__(self, user: str) -> SlurmToken:
        """Raises CredentialDoubt with what is wrong with the file."""
        path = self._path.replace(PLACEHOLDER, user)
        try:
            token = await self._file(path)()
        except SecretUnusable as unusable:
            self._problem = str(unusable)
            raise CredentialDoubt(self._problem) from unusable
        self._problem = ""
        return token

    def state(self) -> str:
        """Why the last token could not be had; empty if it could."""
        return self._problem

    def _file(self, path: str) -> SecretFile[SlurmToken]:
        file = self._files.get(path)
        if file is None:
            if len(self._files) >= self._maximum_users:
                del self._files[next(iter(self._files))]
            file = self._files[path] = SecretFile(
                Path(path),
                self._read,
                self._threads,
                maximum_bytes=MAXIMUM_TOKEN_CHARACTERS + 64,
                monotonic=self._monotonic,
            )
        return file


def _read_token_file(opened: OpenedFile, *, directory: Path | None) -> SlurmToken:
    exposed = opened.status.st_mode & 0o027
    if exposed and not is_inside(opened.path, directory):
        name = shlex.quote(str(opened.path))
        raise ValueError(f"can be read or changed by others: chmod o-rwx,g-w {name}")
    return read_slurm_token(opened.content.decode("ascii", errors="replace"))


class _Held(NamedTuple):
    """The last good token, if any; why there is no newer one; when the next may be asked for."""

    token: SlurmToken | None
    problem: str
    next_attempt: float


_NOTHING = _Held(None, "no token yet", float("-inf"))


class CommandTokens:
    """A TokenSource: the token that a command prints, for each user or, without "{user}", for all.

    One command at a time for a user and a few in all; a token with less than `refresh_seconds`
    left is renewed while it still serves. `run` takes the argument list and gives what was printed.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        run: Callable[[tuple[str, ...]], Awaitable[str]],
        *,
        refresh_seconds: float,
        now: Clock = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        maximum_users: int = 10_000,
    ) -> None:
        self._command = command
        self._is_per_user = any(PLACEHOLDER in argument for argument in command)
        self._run = run
        self._refresh_seconds = refresh_seconds
        self._now = now
        self._monotonic = monotonic
        self._maximum_users = maximum_users
        self._running = asyncio.Semaphore(_COMMANDS_AT_ONCE)
        self._flight: OneFlight[str, None] = OneFlight()
        self._held: dict[str, _Held] = {}
        self._problem = ""

    async def __call__(self, user: str) -> SlurmToken:
        """Raises CredentialDoubt with what the command said, tokens left out."""
        key = user if self._is_per_user else ""
        held = self._held.get(key, _NOTHING)
        left = held.token.unverified_expires - self._now() if held.token else 0.0
        if left < self._refresh_seconds and self._monotonic() >= held.next_attempt:
            renewal = self._flight.join(key, partial(self._renew, key))
            if left < MINIMUM_SECONDS_LEFT:
                await renewal
                held = self._held.get(key, _NOTHING)
        if held.token is None:
            raise CredentialDoubt(held.problem)
        return held.token

    def state(self) -> str:
        """Why the last command gave no token; empty if it did."""
        return self._problem

    async def _renew(self, key: str) -> None:
        command = tuple(argument.replace(PLACEHOLDER, key) for argument in self._command)
        token, problem = self._held.get(key, _NOTHING).token, ""
        try:
            async with self._running:
                token = read_slurm_token(await self._run(command))
        except CredentialDoubt as doubt:
            problem = str(doubt)
        except ValueError as error:
            problem = f"what {command[0]} printed {error}"
        self._problem = problem
        self._remember(key, _Held(token, problem, self._monotonic() + RETRY_SECONDS))

    def _remember(self, key: str, held: _Held) -> None:
        self._held.pop(key, None)
        if len(self._held) >= self._maximum_users:
            del self._held[next(iter(self._held))]
        self._held[key] = held
