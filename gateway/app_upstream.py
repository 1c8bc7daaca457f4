"""[credential] and [forward] -> how a granted request comes by a Slurm token, and how it gets to slurmrestd."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

from gateway.app_shelf import Shelf
from gateway.config.credential import Attach as AttachSection
from gateway.config.credential import Mint as MintSection
from gateway.config.credential import Passthrough as PassthroughSection
from gateway.config.forward import Forward
from gateway.config.gateway import Gateway
from gateway.config.limit import Limit
from gateway.edges.directory import NssDirectory, NssIds
from gateway.edges.few_threads import FewThreads
from gateway.edges.late_writes import LateWrites
from gateway.edges.own_operations import HandOut
from gateway.edges.run_command import RunCommand, minimal_environment
from gateway.edges.signing_key import SigningKeyFile
from gateway.edges.slots import FairSlots
from gateway.edges.slurmrestd import Slurmrestd
from gateway.edges.token_source import PLACEHOLDER, CommandTokens, FileTokens
from gateway.edges.upstream_pool import Address, UpstreamPool
from gateway.model import Clock
from gateway.pipeline import IssueCredential
from gateway.stages.credential import Attach, Impersonate, Mint, MintTerms, Passthrough
from gateway.stages.forward import Patience


@dataclass(frozen=True, slots=True)
class Issuing:
    """The strategy. `try_out` asks its source once, where no user is needed for that.

    `state` says what is wrong with the source, as last seen; empty if nothing is.
    """

    issue: IssueCredential
    try_out: Callable[[], Awaitable[object]] | None
    state: Callable[[], str]
    hand_out: HandOut | None = None
    """Makes a token for a user to keep; None where the gateway makes none."""


FILE_THREADS = 2
"""For each kind of file, and none of NSS's: a directory that hangs must not keep a key from being read."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What credentials need from the rest of the gateway. `threads` are for NSS."""

    directory: NssDirectory
    threads: FewThreads
    challenge: str
    environ: Mapping[str, str]
    now: Clock = time.time

    @property
    def credentials_directory(self) -> Path | None:
        """Where systemd puts files for this service alone."""
        found = self.environ.get("CREDENTIALS_DIRECTORY")
        return Path(found) if found else None


def make_credential(config: Gateway, around: Surroundings) -> Issuing:
    """Pick the strategy."""
    forbidden = frozenset(config.map_user.forbidden_users)
    match config.credential:
        case MintSection() as section:
            return _make_mint(section, config, around, forbidden)
        case AttachSection() as section:
            return _make_attach(section, around, forbidden)
        case PassthroughSection():
            stage = Passthrough(around.now, around.challenge, forbidden)
            return Issuing(stage, None, lambda: "")
        case never:
            assert_never(never)


def _make_mint(
    section: MintSection, config: Gateway, around: Surroundings, forbidden: frozenset[str]
) -> Issuing:
    key = SigningKeyFile(
        section.key_file,
        FewThreads(FILE_THREADS),
        group_readable=section.group_readable_key,
        credentials_directory=around.credentials_directory,
        own_uid=os.geteuid(),
    )
    limit_seconds = config.map_user.directory_seconds
    ids = NssIds(around.directory, around.threads, limit_seconds=limit_seconds)
    terms = MintTerms(
        lifetime_seconds=section.lifetime_seconds,
        leeway_seconds={one.issuer: one.leeway_seconds for one in config.authenticate.issuers},
        challenge=around.challenge,
        forbidden_users=forbidden,
    )
    stage = Mint(key, terms, around.now, ids if section.include_ids else None)
    hand_out = partial(stage.hand_out, lifetime_seconds=section.handed_out_seconds)
    return Issuing(stage, key, key.state, hand_out)


def _make_attach(
    section: AttachSection, around: Surroundings, forbidden: frozenset[str]
) -> Issuing:
    tokens = _make_tokens(section, around)
    strategy = Impersonate if section.impersonate else Attach
    issue = strategy(tokens, around.now, forbidden)
    is_one_file = section.token_file is not None and PLACEHOLDER not in str(section.token_file)
    return Issuing(issue, (lambda: tokens("")) if is_one_file else None, tokens.state)


def _make_tokens(section: AttachSection, around: Surroundings) -> FileTokens | CommandTokens:
    if section.token_file is not None:
        return FileTokens(
            str(section.token_file),
            FewThreads(FILE_THREADS),
            credentials_directory=around.credentials_directory,
        )
    run = RunCommand(minimal_environment(around.environ), section.command_seconds)
    return CommandTokens(section.command, run, refresh_seconds=section.refresh_seconds)


def make_slots(forward: Forward, limit: Limit, shelf: Shelf) -> FairSlots:
    """One for each slurmrestd, whatever else is reloaded: it hangs at its 125th connection."""
    return shelf.take(
        ("slots", forward.upstream, forward.connections, limit.queue, limit.queue_seconds),
        lambda: FairSlots(forward.connections, limit.queue, limit.queue_seconds),
    )


@dataclass(frozen=True, slots=True)
class Upstream:
    """The client of slurmrestd and its connections."""

    slurmrestd: Slurmrestd
    pool: UpstreamPool


def make_upstream(forward: Forward, late_writes: LateWrites, shelf: Shelf) -> Upstream:
    """Kept over a reload that leaves the section alone."""
    return shelf.take(
        ("upstream", forward),
        lambda: new_upstream(forward, late_writes),
        close=lambda upstream: upstream.slurmrestd.close(),
    )


def new_upstream(forward: Forward, late_writes: LateWrites | None = None) -> Upstream:
    """Opens nothing yet."""
    address = Address.parse(forward.upstream)
    pool = UpstreamPool(
        address,
        connections=forward.connections,
        connect_seconds=forward.connect_seconds,
        idle_seconds=forward.idle_seconds,
        buffer_bytes=forward.buffer_bytes,
        may_share=forward.share_connections,
        late_writes=late_writes,
    )
    patience = Patience(forward.read_seconds, forward.write_seconds, forward.heavy_seconds)
    return Upstream(Slurmrestd(address, pool, patience), pool)
