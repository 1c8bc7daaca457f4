"""[cache] -> the upstream that asks once for many, and what is made of its answers; None where it is off."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.app_breaker import Guarded
from gateway.app_shelf import Shelf
from gateway.config.cache import Cache
from gateway.edges.cache_counts import CacheCounts
from gateway.edges.cache_entries import Entries
from gateway.edges.cached_reads import CachedReads, Slots, Terms
from gateway.edges.cached_views import CachedViews, FilterAnswer
from gateway.edges.generations import Floors, Generations, MemoryGenerations
from gateway.edges.guarded_upstream import Checked, Upstream
from gateway.edges.selected_answers import select_streamed
from gateway.edges.shared_generations import SharedGenerations
from gateway.edges.sharing import Issue, Sharing
from gateway.edges.store import Store
from gateway.model import Admission
from gateway.stages.cache import Lifetimes


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the cache."""

    guarded: Guarded
    upstream: Upstream
    """The same, and what remembers keys before it."""
    slots: Slots
    only_own_jobs: FilterAnswer
    issue: Issue


@dataclass(frozen=True, slots=True)
class Caching:
    """The parts that others use, as they are without a cache."""

    upstream: Upstream
    guarded: Guarded
    only_own_jobs: FilterAnswer
    select: FilterAnswer = select_streamed
    finish: FilterAnswer | None = None
    goes_without_slot: Callable[[Admission], bool] | None = None
    entries: Entries | None = None
    counts: CacheCounts | None = None


def make_cache(section: Cache, behind: Behind, shelf: Shelf, store: Store | None) -> Caching:
    """Entries are of one generation of the configuration; what users wrote is known to all of them.

    And to all processes that share a store.
    """
    guarded = behind.guarded
    if not section.enabled:
        return Caching(behind.upstream, guarded, behind.only_own_jobs)
    lifetimes = Lifetimes(section.seconds, section.slow_seconds, section.seconds_by_operation)
    terms = Terms(
        lifetimes,
        section.refresh_seconds,
        section.stale_seconds,
        section.maximum_answer_bytes,
        section.maximum_list_bytes,
        time.monotonic,
    )
    entries, counts = Entries(section.maximum_bytes), shelf.take("cache-counts", CacheCounts)
    floors = Floors(_generations(shelf, store))
    sharing = None
    if section.private_data_is_empty and section.share_as:
        sharing = Sharing(
            section.share_as, behind.issue, guarded.upstream, behind.slots, time.monotonic
        )
    asked = Checked(behind.upstream, guarded.upstream.check)
    upstream = CachedReads(asked, behind.slots, entries, floors, terms, sharing, counts)
    views = CachedViews(behind.only_own_jobs, counts)
    return Caching(
        upstream,
        guarded,
        views.own_jobs,
        views.select,
        views.finish,
        lifetimes.is_kept,
        entries,
        counts,
    )


def _generations(shelf: Shelf, store: Store | None) -> Generations:
    if store is None:
        return shelf.take("cache-generations", MemoryGenerations)
    return shelf.take(("cache-generations", store), lambda: SharedGenerations(store))
