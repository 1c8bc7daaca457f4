"""A generation -> what /readyz tells of it, and what /metrics reads off it."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.app_cache import Caching
from gateway.app_idempotency import Idempotent
from gateway.app_identity import Identification, Mapped
from gateway.app_sign_in import SigningIn
from gateway.app_upstream import Issuing, Upstream
from gateway.audit.journal import Journal
from gateway.edges.jwks import KeyState
from gateway.edges.store import Store
from gateway.sign_in.session import SessionDoubt
from gateway.stages.breaker import Breaker, Daemon
from gateway.web.cache_metrics import BreakerReading, CacheReading
from gateway.web.metrics import KeyReading, StoreReading
from gateway.web.operations import Part

MINIMUM_ROOM_BYTES = 256 * 1024 * 1024
"""Room for a handful of the largest request bodies in the state directory."""

_TRY_SECONDS = 1.0
SCARCE_PERCENT = 10
"""Free space of a disk with audit files below which it is warned."""


def key_part(keys: Mapping[str, KeyState]) -> Part:
    """Ready while the tokens of one issuer at least can be verified; each issuer is told."""
    detail = {
        issuer: {
            "ok": state.usable,
            "keys": state.keys,
            "age_seconds": None if state.age_seconds is None else round(state.age_seconds, 1),
            "error": state.error,
        }
        for issuer, state in keys.items()
    }
    return Part("keys", any(state.usable for state in keys.values()), detail)


def credential_part(issuing: Issuing, upstream: Upstream) -> Part:
    """Not ready without a key or token, or while Slurm refuses what is made with it."""
    problem = issuing.state()
    if not problem and upstream.slurmrestd.state.is_credential_refused:
        problem = "Slurm refused the last credential"
    return Part("credential", not problem, problem)


def audit_part(journal: Journal, files: Sequence[Path]) -> Part:
    """Not ready while nothing can be recorded. Other sinks, and disks that get full, are told."""
    others = [sink.problem for sink in journal.others if sink.problem]
    detail = {
        "lines": journal.written,
        "failures": journal.failures,
        "problem": journal.problem,
        "other_sinks": others,
        "dropped": sum(sink.dropped for sink in journal.others),
        "warnings": [warning for file in files if (warning := _scarce(file.parent))],
    }
    return Part("audit", not journal.problem, detail)


def _scarce(directory: Path) -> str:
    try:
        room = os.statvfs(directory)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    percent = 100 * room.f_bavail // max(room.f_blocks, 1)
    return f"{directory} has {percent} % free" if percent < SCARCE_PERCENT else ""


def disk_part(state_directory: Path) -> Part:
    """Not ready without room for request bodies."""
    try:
        room = os.statvfs(state_directory)
    except OSError as error:
        return Part("disk", False, error.strerror or "")
    free = room.f_bavail * room.f_frsize
    return Part("disk", free >= MINIMUM_ROOM_BYTES, {"free_bytes": free})


def upstream_part(upstream: Upstream) -> Part:
    """Told only: a slurmrestd that is away is no reason to send clients elsewhere."""
    state = upstream.slurmrestd.state
    detail = {
        "reachable": state.is_reachable,
        "checks_each_request": state.checks_each_request,
        "connections": state.connections,
    }
    return Part("upstream", state.is_reachable is not False, detail, informational=True)


def directory_part(mapped: Mapped) -> Part:
    """Told only: the requests that need the directory say so themselves."""
    problem = mapped.directory.state()
    return Part("directory", not problem, problem, informational=True)


def table_part(mapped: Mapped, identification: Identification) -> Part:
    """Told only: a table that has turned bad leaves the last good one in use."""
    problems = [problem for problem in _table_problems(mapped, identification) if problem]
    return Part("tables", not problems, problems, informational=True)


def keys_part(idempotent: Idempotent) -> Part:
    """Told only: submissions without a key do not need the store."""
    problem = idempotent.store.problem if idempotent.store is not None else ""
    return Part("idempotency", not problem, problem, informational=True)


async def sessions_part(signing_in: SigningIn | None) -> Part:
    """Told only: calls with a token need no session. A write is tried, because a full disk still reads."""
    problem = ""
    if signing_in is not None:
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                await signing_in.store.try_out()
        except TimeoutError:
            problem = f"no answer in {_TRY_SECONDS:.0f} s"
        except SessionDoubt as doubt:
            problem = str(doubt)
    return Part("sessions", not problem, problem, informational=True)


def store_part(store: Store | None) -> Part:
    """Told only: what holds while it is away is a setting of each use, and none of them is no reason."""
    if store is None:
        return Part("store", True, "not configured", informational=True)
    detail = {"problem": store.problem, "missed": dict(store.missed)}
    return Part("store", not store.problem, detail, informational=True)


def store_reading(store: Store | None) -> StoreReading | None:
    """For the metrics."""
    return None if store is None else StoreReading(not store.problem, dict(store.missed))


def cache_reading(caching: Caching) -> CacheReading | None:
    """For the metrics."""
    entries, counts = caching.entries, caching.counts
    if entries is None or counts is None:
        return None
    return CacheReading(
        entries=len(entries),
        used_bytes=entries.used,
        maximum_bytes=entries.maximum,
        answers=counts.answers,
        not_modified=counts.not_modified,
        calls=counts.calls,
    )


def breaker_readings(breaker: Breaker | None) -> tuple[BreakerReading, ...]:
    """For the metrics."""
    if breaker is None:
        return ()
    return tuple(
        BreakerReading(
            daemon.value,
            breaker.is_open(daemon),
            breaker.openings[daemon],
            breaker.refusals[daemon],
        )
        for daemon in Daemon
    )


def _table_problems(mapped: Mapped, identification: Identification) -> Iterator[str]:
    for table in mapped.tables.values():
        yield table.state()
    yield getattr(identification.deny_list, "error", "")


def key_readings(keys: Mapping[str, KeyState]) -> tuple[KeyReading, ...]:
    """For the metrics."""
    return tuple(
        KeyReading(issuer, state.age_seconds, state.fetches, state.failures)
        for issuer, state in keys.items()
    )
