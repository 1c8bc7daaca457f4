"""A Grant to read -> slurmrestd's answer, which equal requests of a moment share; other grants -> slurmrestd.

One flight at a time for each (whose, target, media type) and generation. What a flight brings is kept
for as long as its operation says. Filters and codings come behind this; a flight and an entry hold what
slurmrestd said.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from gateway.denial import Denied, Reason
from gateway.edges.cache_counts import PASSED, CacheCounts
from gateway.edges.cache_entries import Entries, Entry, Key, View
from gateway.edges.cache_flight import Flight
from gateway.edges.cached_answer import CachedAnswer, Lent, plain_answer
from gateway.edges.daemon_word import says_away
from gateway.edges.few_threads import FewThreads
from gateway.edges.generations import Floors
from gateway.edges.sharing import Sharing
from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import AuthorizedCall, CacheWish, Clock, Grant, Identity, Lease
from gateway.stages.cache import (
    Found,
    Lifetimes,
    Sighting,
    concern_of,
    concerns_of_write,
    longest_age,
)
from gateway.stages.forward import may_change_state

_OK = 200
_AWAY = frozenset(
    {
        Reason.SLURM_UNAVAILABLE,
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_TIMEOUT,
        Reason.UPSTREAM_INVALID,
    }
)
"""What a kept answer helps against."""
_LEADERS_OWN = frozenset({Reason.BUSY, Reason.TOKEN_EXPIRING})
"""Refusals that say something of who asked first, and nothing of the answer."""
_EVERYBODY = ("\x00", "")
"""Whose an answer is that is shared: no user has such a name."""
_AT_ONCE_BYTES = 262_144
"""The tag of a body of this size is made in 0.15 ms, not worth a thread."""
_WORK_SECONDS = 30.0


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...

    def check(self, call: AuthorizedCall, /) -> None:
        """Raises Denied where it is known that nobody would answer."""


class Slots(Protocol):
    """A fair share of slurmrestd's few connections."""

    async def acquire(self, identity: Identity) -> Lease: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How long answers are used, how often somebody may ask for a fresh one, how much longer one does while
    Slurm is away, and how large one may be.
    """

    lifetimes: Lifetimes
    least_seconds: float
    stale_seconds: float
    maximum_answer_bytes: int
    maximum_list_bytes: int
    """The same where somebody wants parts of it."""
    monotonic: Clock


class CachedReads:
    """Fills the Protocol that it wraps. A flight goes on when those who wait for it leave."""

    def __init__(  # noqa: PLR0917  # each is another part of the gateway
        self,
        upstream: Upstream,
        slots: Slots,
        entries: Entries,
        floors: Floors,
        terms: Terms,
        sharing: Sharing | None = None,
        counts: CacheCounts | None = None,
    ) -> None:
        self._upstream = upstream
        self._slots = slots
        self._entries = entries
        self._floors = floors
        self._terms = terms
        self._sharing = sharing
        self._counts = counts or CacheCounts()
        self._flights: dict[Key, Flight] = {}
        self._threads = FewThreads(1)

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]:
        """See Upstream."""
        call = grant.admission.call
        if may_change_state(call):
            return self._write(grant)
        seconds = self._terms.lifetimes(call)
        return self._counted(grant, seconds) if seconds > 0 else self._upstream.send(grant)

    # writes

    async def _write(self, grant: Grant) -> Answer:
        """What was read before it is over says nothing to its user any more, whatever became of it.

        With a key it goes on even if nothing would be sent: its answer may be remembered.
        """
        if not grant.admission.request.idempotency_key:
            self._upstream.check(grant.admission.call)
        names = [_name(grant, concern.value) for concern in concerns_of_write(grant.admission.call)]
        await self._advance(names)
        try:
            return await self._upstream.send(grant)
        finally:
            await asyncio.shield(self._advance(names))

    async def _advance(self, names: list[str]) -> None:
        for name in names:
            await self._floors.advance(name)

    # reads

    async def _counted(self, grant: Grant, seconds: float) -> Answer:
        answer = await self._read(grant, seconds)
        found = answer.sighting.outcome if isinstance(answer, CachedAnswer) else PASSED
        self._counts.answers[found] += 1
        return answer

    async def _read(self, grant: Grant, seconds: float) -> Answer:
        admission = grant.admission
        call, wish = admission.call, admission.request.cache_wish
        is_shared = self._sharing is not None and await self._sharing.holds(grant)
        key, least = (
            key_of(grant, is_shared=is_shared),
            longest_age(seconds, wish, self._terms.least_seconds),
        )
        floor = await self._floors.of(_name(grant, concern_of(call).value))
        entry, now = self._entries.get(key), self._terms.monotonic()
        if entry is not None and entry.number >= floor and now - entry.since < least:
            return plain_answer(Lent(self._entries, entry), _hit(entry, now, seconds))
        flight, is_mine = self._flight(key, grant, floor, now - least), False
        if flight is None:
            flight, is_mine = self._begin(key, grant, seconds), True
        flight.most_bytes = max(flight.most_bytes, self._most_bytes(call))
        sighting = _missed(entry, wish, seconds, now, not is_mine)
        oldest = now - seconds - self._terms.stale_seconds
        if entry is None or entry.number < floor or entry.since <= oldest:
            return await self._wait(flight, grant, sighting)
        lent = Lent(self._entries, entry)
        try:
            answer = await self._wait(flight, grant, sighting)
        except Denied as denied:
            if denied.reason not in _AWAY:
                lent.give_back()
                raise
        except BaseException:
            lent.give_back()
            raise
        else:
            if not says_away(answer):
                lent.give_back()
                return answer
            answer.close()
        return plain_answer(lent, _stale(entry, self._terms.monotonic(), seconds))

    # flights

    def _flight(self, key: Key, grant: Grant, floor: int, oldest: float) -> Flight | None:
        """One under way that may be joined: not older than what may be answered, and of this generation."""
        flight = self._flights.get(key)
        if flight is None or flight.number < floor or flight.task.done():
            return None
        wish = grant.admission.request.cache_wish
        is_choosy = wish is not None and wish.maximum_age_seconds is not None
        return None if is_choosy and flight.begun <= oldest else flight

    def _begin(self, key: Key, grant: Grant, seconds: float) -> Flight:
        leader = grant.admission.identity.key
        flight = Flight(self._floors.next(), self._terms.monotonic(), leader)
        self._flights[key] = flight
        flight.task = asyncio.create_task(self._fly(flight, key, grant, seconds))
        flight.task.add_done_callback(lambda _: self._landed(flight, key))
        return flight

    def _landed(self, flight: Flight, key: Key) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # whoever waits hears of it; there may be nobody
        flight.clear()

    async def _fly(self, flight: Flight, key: Key, grant: Grant, seconds: float) -> None:
        if self._sharing is not None and key[0] == _EVERYBODY:
            grant = await self._sharing.as_shared(grant)
        slot = await self._slots.acquire(grant.admission.identity)
        flight.is_seated = True
        try:
            answer = await self._call(grant._replace(slot=slot))
            if answer.head.status != _OK:
                await self._share(flight, answer, grant.admission.call)
            elif self._has_room(answer, flight.most_bytes):
                await self._keep(flight, key, answer, grant.admission.call, seconds)
            else:
                flight.streamed = answer
        except BaseException:
            slot.release()
            raise
        if flight.streamed is not None:
            flight.streamed.lease = slot
            flight.streamed.came_straight = False  # repeats shall come by here again
        else:
            slot.release()

    def _call(self, grant: Grant) -> Coroutine[Any, Any, Answer]:
        """Counted only if it is made."""
        self._upstream.check(grant.admission.call)
        self._counts.calls += 1
        return self._upstream.send(grant)

    def _most_bytes(self, call: AuthorizedCall) -> int:
        terms = self._terms
        if call.selection is None:
            return terms.maximum_answer_bytes
        return max(terms.maximum_answer_bytes, terms.maximum_list_bytes)

    def _has_room(self, answer: Answer, most_bytes: int) -> bool:
        length = answer.head.length
        return length <= most_bytes and self._entries.reserve(length)

    async def _share(self, flight: Flight, answer: Answer, call: AuthorizedCall) -> None:
        """Something else than the answer that was hoped for: theirs who wait now, and nobody's later."""
        if await _read_all(answer, self._terms.maximum_answer_bytes, call):
            flight.shared = answer
        else:
            flight.streamed = answer

    async def _keep(
        self, flight: Flight, key: Key, answer: Answer, call: AuthorizedCall, seconds: float
    ) -> None:
        length = answer.head.length
        try:
            await _read_all(answer, length, call)
            body = answer.whole or b""
            view = View(body, await self._tag(body))
        except BaseException:
            self._entries.give_back(length)
            raise
        now = self._terms.monotonic()
        spent_at = now + seconds + self._terms.stale_seconds
        entry = Entry(answer.head, view, flight.number, now, spent_at)
        flight.lent = Lent(self._entries, entry)
        self._entries.put(key, entry, now)

    async def _tag(self, body: bytes) -> str:
        if len(body) <= _AT_ONCE_BYTES:
            return tag_of(body)
        try:
            return await self._threads.run(_WORK_SECONDS, lambda: tag_of(body))
        except (TimeoutError, OSError):  # no thread
            return tag_of(body)

    async def _wait(self, flight: Flight, grant: Grant, sighting: Sighting) -> Answer:
        flight.waiters += 1
        try:
            await asyncio.shield(flight.task)
            if flight.lent is not None:
                return plain_answer(flight.lent.again(), sighting._replace(is_stored=True))
            if flight.shared is not None:
                return _copy(flight.shared)
            answer = flight.take()
        except Denied as denied:
            if flight.leader == grant.admission.identity.key or denied.reason not in _LEADERS_OWN:
                raise
            answer = None
        finally:
            flight.left()
        return answer if answer is not None else await self._alone(grant)

    async def _alone(self, grant: Grant) -> Answer:
        """Who comes too late for an answer that is too large for all asks for one of their own."""
        slot = await self._slots.acquire(grant.admission.identity)
        try:
            answer = await self._call(grant._replace(slot=slot))
        except BaseException:
            slot.release()
            raise
        answer.lease = slot
        answer.came_straight = False  # repeats shall come by here again
        return answer


def key_of(grant: Grant, *, is_shared: bool = False) -> Key:
    """Whose, what and how: a caller's own token is no other caller's, although the user be the same."""
    admission, credential = grant.admission, grant.credential
    own = credential.token.reveal if credential.is_callers else ""
    whose = _EVERYBODY if is_shared else (admission.user.name, own)
    return whose, admission.call.target, admission.request.accept


def tag_of(body: bytes) -> str:
    """An entity tag (RFC 9110 section 8.8.3), of the body without a coding."""
    return f'"{sha256(body).hexdigest()[:32]}"'


def _name(grant: Grant, concern: str) -> str:
    return f"{concern}\x1f{grant.admission.user.name}"


def _hit(entry: Entry, now: float, seconds: float) -> Sighting:
    age = now - entry.since
    return Sighting(Found.HIT, seconds - age, age)


def _stale(entry: Entry, now: float, seconds: float) -> Sighting:
    return _hit(entry, now, seconds)._replace(detail=Reason.SLURM_UNAVAILABLE.code)


def _missed(
    entry: Entry | None, wish: CacheWish | None, seconds: float, now: float, is_collapsed: bool
) -> Sighting:
    found = Found.MISS
    if entry is not None:
        is_wish = wish is not None and wish.maximum_age_seconds is not None
        found = Found.REQUEST if is_wish and now - entry.since < seconds else Found.STALE
    return Sighting(found, is_collapsed=is_collapsed, fwd_status=_OK)


def _copy(answer: Answer) -> Answer:
    """Of its own for each reader."""
    copy = Answer(answer.head, answer.whole or b"")
    copy.seconds = answer.seconds
    return copy


async def _read_all(answer: Answer, most: int, call: AuthorizedCall) -> bool:
    """Whether all of it is there. Raises Denied where it never will be."""
    try:
        return await answer.read_all(most)
    except UpstreamFailed as failure:
        answer.close()
        raise denied(failure, call) from failure
    except BaseException:
        answer.close()
        raise
