"""Slurm's key file -> SlurmKey, as long as nobody else can read it."""

import os
import shlex
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gateway.edges.few_threads import FewThreads
from gateway.edges.secret_file import OpenedFile, SecretFile, SecretUnusable, is_inside
from gateway.slurm_token import SlurmKey
from gateway.stages.credential import CredentialDoubt

_MAXIMUM_KEY_BYTES = 65_536
_OWNER_ONLY = frozenset({0o400, 0o600})
_GROUP_READABLE = frozenset({0o440, 0o640})


class SigningKeyFile:
    """A SigningKey: read again when it changes. A file that turns bad stops the minting.

    Mode 0400 or 0600, of `own_uid` or root; 0440 and 0640 with `group_readable`; any mode inside
    `credentials_directory`, where systemd's LoadCredential puts files for this service alone.
    """

    def __init__(
        self,
        path: Path,
        threads: FewThreads,
        *,
        group_readable: bool,
        credentials_directory: Path | None,
        own_uid: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        modes = _OWNER_ONLY | _GROUP_READABLE if group_readable else _OWNER_ONLY
        read = partial(_read_key, modes=modes, directory=credentials_directory, own_uid=own_uid)
        self._file = SecretFile(
            path, read, threads, maximum_bytes=_MAXIMUM_KEY_BYTES, monotonic=monotonic
        )

    async def __call__(self) -> SlurmKey:
        """The same object until the key changes. Raises CredentialDoubt with what to type."""
        try:
            return await self._file()
        except SecretUnusable as unusable:
            raise CredentialDoubt(str(unusable)) from unusable

    def state(self) -> str:
        """What is wrong with the file, as last seen; empty if nothing is."""
        return self._file.problem


def _read_key(
    opened: OpenedFile, *, modes: frozenset[int], directory: Path | None, own_uid: int
) -> SlurmKey:
    asked = None if is_inside(opened.path, directory) else modes
    problem = describe_exposure(opened.path, opened.status, asked, own_uid)
    if problem:
        is_for_group = stat.S_IMODE(opened.status.st_mode) in _GROUP_READABLE
        hint = ", or set credential.group_readable_key = true" if is_for_group else ""
        raise ValueError(problem + hint)
    try:
        return SlurmKey(opened.content)
    except ValueError as error:
        raise ValueError(f"is not Slurm's key: it {error}") from error


def describe_exposure(
    path: Path, status: os.stat_result, modes: frozenset[int] | None, own_uid: int
) -> str:
    """Who else could read or replace the file and what to type, or nothing. None: any mode."""
    quoted = shlex.quote(str(path))
    if status.st_uid not in (own_uid, 0):
        return (
            f"belongs to uid {status.st_uid}, which is neither the gateway's user nor root: "
            f"chown {own_uid} {quoted}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if modes is not None and mode not in modes:
        return f"has mode {mode:04o}, so that others can read or change it: chmod 0400 {quoted}"
    return ""
