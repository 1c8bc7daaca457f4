"""[store] -> the client of the store, and what is counted with it rather than in the memory of one process."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, assert_never

from gateway.app_shelf import Shelf
from gateway.config.gateway import Gateway
from gateway.config.store import Store as StoreSection
from gateway.edges.buckets import MemoryBuckets
from gateway.edges.hits_in_advance import PARTS, HitsInAdvance
from gateway.edges.shared_buckets import RefuseWhenAway, SharedBuckets, ShareWhenAway
from gateway.edges.store import Store

Counting = MemoryBuckets | ShareWhenAway | RefuseWhenAway
"""What rates are counted with."""

Record = Callable[[str, Mapping[str, object]], object]
"""Writes a line of the audit that belongs to no request."""


def open_store(config: Gateway, shelf: Shelf) -> Store | None:
    """Opens no connection yet; kept over a reload that leaves the section alone."""
    section, cluster = config.store, config.server.cluster
    if section.address is None:
        return None
    return shelf.take(
        ("store", section),
        lambda: make_store(section, cluster),
        run=Store.keep_watch,
        close=Store.close,
    )


def make_store(section: StoreSection, cluster: str) -> Store:
    """Of a section with an address."""
    from gateway.edges.store_client import ERRORS, PasswordFile, StoreTls, connect_to

    tls = None
    if (section.address or "").startswith("tls:"):
        tls = StoreTls(section.ca_file, section.certificate_file, section.key_file)
    client = connect_to(
        section.address or "",
        credentials=PasswordFile(section.user, section.password_file)
        if section.password_file
        else None,
        tls=tls,
        connections=section.connections,
    )
    return Store(
        client,
        cluster,
        errors=ERRORS,
        timeout_seconds=section.timeout_seconds,
        retry_seconds=section.retry_seconds,
        monotonic=time.monotonic,
        connections=section.connections,
    )


def count_processes(config: Gateway) -> int:
    """All that share the store, on all machines."""
    return config.store.machines * config.server.workers


def choose_counting(config: Gateway, store: Store | None, local: MemoryBuckets) -> Counting:
    """Rates of this process, or of all that share a store."""
    if store is None:
        return local
    processes = count_processes(config)
    match config.store.limits_when_away:
        case "share":
            ahead = HitsInAdvance(PARTS * processes)
            return ShareWhenAway(SharedBuckets(store, "limits", ahead), local, processes)
        case "refuse":  # none in advance, which would be admitted while the store is away
            return RefuseWhenAway(SharedBuckets(store, "limits"))
        case never:
            assert_never(never)


class Counters(NamedTuple):
    """What is counted in this process, and what with all that share a store."""

    local: MemoryBuckets
    rates: Counting
    store: Store | None


def make_counters(config: Gateway, shelf: Shelf) -> Counters:
    """The process's own stay, whatever is reloaded."""
    local, store = shelf.take("buckets", MemoryBuckets), open_store(config, shelf)
    return Counters(local, choose_counting(config, store, local), store)


def record_changes(store: Store, record: Record) -> None:
    """Have the audit tell when the store goes away, and when it is back."""
    store.tell = partial(_record_change, store, record)


def _record_change(store: Store, record: Record, problem: str) -> None:
    record("store", {"available": not problem, "problem": problem, "missed": dict(store.missed)})
