"""Bytes of a JWK Set, fetched now and then -> an issuer's keys, fresh, bounded and never asked for in vain.

When the provider is asked, in order of how often it happens:

- ahead of need, by `keep_fresh`, when four fifths of the key age are over;
- by a request that finds the keys older than that age, which waits for the answer;
- by a token with an unknown kid: at most once in 10 s, never twice in a minute for the same kid,
  and never more often than the back-off allows while the provider fails.

All who wait share one flight. While the provider is down the last good keys serve for their stale
time; after that, or without any, the answer is 503 with Retry-After and not a verdict on the token.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from gateway.denial import Denied, Reason
from gateway.edges.discovery import FetchFailed
from gateway.model import Clock
from gateway.token.keys import KeySet, KeyUnusable, VerificationKey, read_key_set

_REFRESH_AFTER = 0.8
"""Of the key age; the rest is for the fetch and for retries."""
_UNKNOWN_KID_SECONDS = 10.0
_UNKNOWN_KID_MEMORY_SECONDS = 60.0
_UNKNOWN_KIDS = 1024
_FIRST_RETRY_SECONDS = 1.0
_LAST_RETRY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class FetchKeySet(Protocol):
    """The way to one issuer's JWK Set."""

    async def fetch(self) -> bytes:
        """The bytes of the set. Raises FetchFailed."""
        ...


@dataclass(frozen=True, slots=True)
class KeyState:
    """An issuer's keys for /readyz and the metrics. `usable` tells whether tokens can be verified now.

    `age_seconds` is that of the keys in use, None without any; `error` is the last failure's, empty
    after a success; `skipped` says which published keys are not usable, and why.
    """

    usable: bool
    keys: int
    age_seconds: float | None
    fetches: int
    failures: int
    error: str
    skipped: tuple[str, ...]


class RemoteKeys:
    """The keys that an identity provider publishes. `now` is monotonic."""

    def __init__(
        self,
        endpoint: FetchKeySet,
        *,
        issuer: str,
        key_age_seconds: float,
        stale_key_seconds: float,
        now: Clock = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._issuer = issuer
        self._key_age = key_age_seconds
        self._stale = stale_key_seconds
        self._now = now
        self._keys = KeySet((), (), frozenset())
        self._fetched_at: float | None = None
        self._trusted_until = float("-inf")
        self._next_fetch = float("-inf")
        self._asked_at = float("-inf")
        self._flight: asyncio.Task[None] | None = None
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._fetches = self._failures = self._failures_in_row = 0
        self._error = ""

    def holds(self, fingerprint: str) -> bool:
        """Whether this key still verifies: published when last seen, and seen not too long ago."""
        return self._now() < self._trusted_until and fingerprint in self._keys.fingerprints

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys with this kid, or all for None. Raises Denied(KEYS_UNAVAILABLE)."""
        if self._now() >= self._trusted_until:
            await self._fetch_if_due()
            if self._now() >= self._trusted_until:
                raise self._unavailable()
        elif self._failures_in_row:
            self._launch_if_due()  # the old keys serve meanwhile
        found = self._keys.matching(kid)
        if found or kid is None:
            return found
        return await self._ask_for(kid)

    def state(self) -> KeyState:
        """What is known, without asking."""
        now = self._now()
        return KeyState(
            usable=now < self._trusted_until,
            keys=len(self._keys.keys),
            age_seconds=None if self._fetched_at is None else now - self._fetched_at,
            fetches=self._fetches,
            failures=self._failures,
            error=self._error,
            skipped=self._keys.skipped,
        )

    async def keep_fresh(self) -> None:
        """Fetch ahead of need for ever; run it as a task. The first fetch is at once."""
        while True:
            await self._fetch_if_due()
            await asyncio.sleep(max(0.1, self._next_fetch - self._now()))

    async def close(self) -> None:
        """Wait for a fetch under way, which takes seconds at most."""
        if self._flight is not None:
            await asyncio.wait([self._flight])

    async def _ask_for(self, kid: str) -> Sequence[VerificationKey]:
        """Look for a new key, if there is a chance that it was published since."""
        is_asked = self._flight is not None or self._may_ask_for(kid)
        if is_asked:
            self._asked_at = self._now()
            await self._fetch()
            found = self._keys.matching(kid)
            if found:
                return found
        if self._failures_in_row:
            raise self._unavailable()  # the provider may have published it by now
        if is_asked:
            self._remember_unknown(kid)
        return ()

    def _remember_unknown(self, kid: str) -> None:
        self._unknown[kid] = self._now() + _UNKNOWN_KID_MEMORY_SECONDS
        if len(self._unknown) > _UNKNOWN_KIDS:
            self._unknown.popitem(last=False)

    def _may_ask_for(self, kid: str) -> bool:
        now = self._now()
        if now - self._asked_at < _UNKNOWN_KID_SECONDS or self._unknown.get(kid, now) > now:
            return False
        return not self._failures_in_row or now >= self._next_fetch

    async def _fetch_if_due(self) -> None:
        if self._flight is not None or self._now() >= self._next_fetch:
            await self._fetch()

    def _launch_if_due(self) -> None:
        if self._now() >= self._next_fetch:
            self._launch()

    async def _fetch(self) -> None:
        """Join the flight, or start one. Who waits may be cancelled; the flight goes on."""
        await asyncio.shield(self._launch())

    def _launch(self) -> asyncio.Task[None]:
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._fly())
        return self._flight

    async def _fly(self) -> None:
        started = self._now()
        try:
            keys = read_key_set(await self._endpoint.fetch())
        except (FetchFailed, KeyUnusable) as failure:
            self._note_failure(str(failure))
        except Exception as error:  # noqa: BLE001 (whatever went wrong, there are no new keys)
            _log.exception("%s: fetching the keys failed unexpectedly", self._issuer)
            self._note_failure(type(error).__name__)
        else:
            self._note_success(keys, started)
        finally:
            self._flight = None

    def _note_success(self, keys: KeySet, started: float) -> None:
        """The age counts from before the request: a key removed while it ran may still be in it."""
        if keys.skipped and keys.skipped != self._keys.skipped:
            _log.warning("%s: keys not used: %s", self._issuer, "; ".join(keys.skipped))
        if self._failures_in_row:
            _log.warning("%s: keys are available again", self._issuer)
        self._keys = keys
        self._fetches += 1
        self._failures_in_row, self._error = 0, ""
        self._fetched_at = started
        self._trusted_until = started + self._key_age
        self._next_fetch = started + self._key_age * _REFRESH_AFTER

    def _note_failure(self, error: str) -> None:
        """Back off, and let the last good keys serve for their stale time."""
        now = self._now()
        if not self._failures_in_row:
            _log.warning("%s: keys cannot be fetched: %s", self._issuer, error)
        self._failures += 1
        self._failures_in_row += 1
        self._error = error
        wait = _FIRST_RETRY_SECONDS * 2.0 ** min(self._failures_in_row - 1, 10)
        self._next_fetch = now + min(wait, _LAST_RETRY_SECONDS)
        if self._fetched_at is not None:
            self._trusted_until = self._fetched_at + self._key_age + self._stale

    def _unavailable(self) -> Denied:
        wait = max(1, ceil(self._next_fetch - self._now()))
        return Denied(Reason.KEYS_UNAVAILABLE, self._error, headers=(("Retry-After", str(wait)),))
