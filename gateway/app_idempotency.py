"""[idempotency] -> the upstream that keeps keys, its store, and the stage that refuses them where they mean nothing."""

import asyncio
import logging
import time
from dataclasses import dataclass

from gateway.app_shelf import Shelf
from gateway.app_store import open_store
from gateway.config.gateway import Gateway
from gateway.edges.guarded_upstream import Upstream
from gateway.edges.idempotent_upstream import IdempotentUpstream
from gateway.edges.job_lookup import JobListLookup, Slots
from gateway.edges.key_store import SqliteKeyStore
from gateway.edges.key_turns import KeyTurns
from gateway.edges.lost_job import FindLost
from gateway.edges.process_file import KEYS_FILE
from gateway.edges.shared_keys import SharedKeys
from gateway.edges.shared_turns import SharedTurns
from gateway.pipeline import RememberKey, remember_nothing
from gateway.stages.idempotency import Caps, CheckKey, KeyStore, KeyStoreDoubt, Terms

_SECONDS_BETWEEN_PURGES = 600.0
_BROKEN_SECONDS = 172_800.0
"""A key whose break is forgotten earlier than the key counts as broken now, which is only slower."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Idempotent:
    """`store` is None where keys are switched off."""

    upstream: Upstream
    check_key: CheckKey
    remember_key: RememberKey
    store: SqliteKeyStore | SharedKeys | None


@dataclass(frozen=True, slots=True)
class Around:
    """What keys need from the rest of the gateway.

    `slurmrestd` is guarded here, so that what is remembered is answered while it is away.
    """

    slurmrestd: Upstream
    slots: Slots
    turns: KeyTurns


def make_idempotent(config: Gateway, around: Around, shelf: Shelf) -> Idempotent:
    """Opens nothing yet. The store is one for all generations."""
    section = config.idempotency
    check_key = CheckKey(enabled=section.enabled)
    if not section.enabled:
        return Idempotent(around.slurmrestd, check_key, remember_nothing, None)
    store, turns = _open_keys(config, around.turns, shelf)
    terms = Terms(
        keep_seconds=section.keep_seconds,
        wait_seconds=section.wait_seconds,
        marker_field=section.marker_field,
        maximum_answer_bytes=section.maximum_answer_bytes,
        caps=Caps(section.maximum_keys, section.maximum_keys_in_all),
    )
    lookup = JobListLookup(around.slurmrestd, around.slots, section.maximum_list_bytes)
    find_lost = FindLost(lookup, turns, section.settle_seconds, section.job_age_seconds, time.time)
    upstream = IdempotentUpstream(
        around.slurmrestd, store, turns, find_lost, around.slots, terms, time.time
    )
    return Idempotent(upstream, check_key, upstream.begin, store)


def _open_keys(
    config: Gateway, turns: KeyTurns, shelf: Shelf
) -> tuple[SqliteKeyStore | SharedKeys, KeyTurns]:
    """In the state directory, or for all that share a store. Turns of one process stay, whatever is reloaded."""
    shared = open_store(config, shelf)
    if shared is None:
        path = config.server.state_directory / KEYS_FILE
        store = shelf.take(
            ("keys", path),
            lambda: SqliteKeyStore(path),
            run=lambda store: keep_clean(store, turns),
            close=SqliteKeyStore.close,
        )
        return store, turns
    all_turns = shelf.take(
        ("turns", config.store), lambda: SharedTurns(shared, turns.holder, turns.monotonic)
    )
    keys = shelf.take(
        ("keys", config.store),
        lambda: SharedKeys(shared),
        run=lambda store: keep_clean(store, all_turns),
    )
    return keys, all_turns


async def keep_clean(store: KeyStore, turns: KeyTurns) -> None:
    """Delete what has expired, now and then, for ever."""
    while True:
        try:
            await store.purge(time.time())
        except KeyStoreDoubt as doubt:
            _log.warning("keys are not purged: %s", doubt)
        turns.clean(_BROKEN_SECONDS)
        await asyncio.sleep(_SECONDS_BETWEEN_PURGES)
