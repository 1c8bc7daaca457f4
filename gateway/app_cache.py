"""[cache] -> the upstream that asks once for many, and what is made of its answers; None where it is off."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.app_shelf import Shelf
from gateway.config.cache import Cache
from gateway.edges.cache_entries import Entries
from gateway.edges.cached_reads import CachedReads, Slots, Terms
from gateway.edges.cached_views import CachedViews, FilterAnswer
from gateway.edges.generations import Floors, Generations, MemoryGenerations
from gateway.edges.guarded_upstream import GuardedUpstream, Upstream
from gateway.edges.selected_answers import select_streamed
from gateway.edges.shared_generations import SharedGenerations
from gateway.edges.sharing import Issue, Sharing
from gateway.edges.store import Store
from gateway.model import Admission
from gateway.stages.breaker import Breaker
from gateway.stages.cache import Lifetimes


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the cache."""

    upstream: Upstream
    slots: Slots
    only_own_jobs: FilterAnswer
    issue: Issue


@dataclass(frozen=True, slots=True)
class Caching:
    """The parts that others use, as they are without a cache."""

    upstream: Upstream
    only_own_jobs: FilterAnswer
    select: FilterAnswer = select_streamed
    finish: FilterAnswer | None = None
    goes_without_slot: Callable[[Admission], bool] | None = None


def make_cache(section: Cache, behind: Behind, shelf: Shelf, store: Store | None) -> Caching:
    """Entries are of one generation of the configuration; what users wrote is known to all of them.

    And to all processes that share a store.
    """
    if not section.enabled:
        return Caching(behind.upstream, behind.only_own_jobs)
    lifetimes = Lifetimes(section.seconds, section.slow_seconds, section.seconds_by_operation)
    terms = Terms(
        lifetimes,
        section.refresh_seconds,
        section.stale_seconds,
        section.maximum_answer_bytes,
        time.monotonic,
    )
    guarded = GuardedUpstream(behind.upstream, Breaker(section.pause_seconds, time.monotonic))
    entries = Entries(section.maximum_bytes)
    floors = Floors(_generations(shelf, store))
    sharing = None
    if section.private_data_is_empty and section.share_as:
        sharing = Sharing(section.share_as, behind.issue, guarded, behind.slots, time.monotonic)
    upstream = CachedReads(guarded, behind.slots, entries, floors, terms, sharing)
    views = CachedViews(behind.only_own_jobs)
    return Caching(upstream, views.own_jobs, views.select, views.finish, lifetimes.is_kept)


def _generations(shelf: Shelf, store: Store | None) -> Generations:
    if store is None:
        return shelf.take("cache-generations", MemoryGenerations)
    return shelf.take(("cache-generations", store), lambda: SharedGenerations(store))
