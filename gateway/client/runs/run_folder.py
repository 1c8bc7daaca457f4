"""`run-folder DIR` -> each job file in it submitted once, followed, and put away with its answer."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from gateway.client.claims import unverified_claims
from gateway.client.folder.incoming import Incoming, Seen
from gateway.client.folder.journal import Item, Journal
from gateway.client.folder.places import FAILED, Places
from gateway.client.folder.working import Tell, Terms, Work
from gateway.client.opening import Cluster, open_cluster, profile_of, token_of
from gateway.client.options import Options
from gateway.client.profiles import Profiles, home_folder
from gateway.client.trouble import Exit, Trouble, printable

_LATER = frozenset({Exit.UNAVAILABLE, Exit.UNDECIDED})
_LOOK_SECONDS = 1.0
_FIRST_PAUSE, _MOST_PAUSE, _SLOWER = 1.0, 15.0, 1.3


@dataclass(frozen=True, slots=True)
class Wish:
    """How a folder is to be worked off."""

    at_once: int = 1
    settle_seconds: float = 3.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes, in seconds."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


CLOCK = Clock(time.monotonic, time.sleep)


@dataclass(slots=True)
class _Pace:
    """When to ask about an item again, and what was said of it last."""

    due: float = 0.0
    pause: float = _FIRST_PAUSE
    said: str = ""


def run(options: Options, folder: Path, wish: Wish) -> int:
    """0 where all went well. It ends by itself with --once alone."""
    places = Places(folder)
    places.prepare()
    tell = _tell_json if options.as_json else _tell
    with open_cluster(options) as cluster:
        whose = f"{_whose(options)} at {cluster.gateway.place.url}"
        try:
            return work_off(places, cluster, Terms(whose, os.environ), wish, tell)
        except KeyboardInterrupt:
            click.echo("What runs goes on; the next run-folder follows it.", err=True)
            raise


def work_off(
    places: Places,
    cluster: Cluster,
    terms: Terms,
    wish: Wish,
    tell: Tell,
    *,
    clock: Clock = CLOCK,
) -> int:
    """The folder that was prepared, from wherever the last one was stopped. Raises Trouble."""
    with places.alone():
        journal = Journal(places.journal)
        items = journal.open_items()
        work = Work(places, journal, cluster, terms, tell)
        for item in items:
            work.check(item)
        incoming = Incoming(places.folder, wish.settle_seconds, clock.now)
        return Shift(work, incoming, wish, tell, clock).run(items)


def _whose(options: Options) -> str:
    """To whom the keys belong, as far as the token says: issuer and subject, or the machine's client."""
    profiles = Profiles(home_folder())
    claims = unverified_claims(token_of(profile_of(options, profiles), profiles, os.environ)())
    subject = claims.get("sub") or claims.get("client_id") or claims.get("azp") or ""
    return f"{subject} of {claims.get('iss', '')}"


@dataclass(slots=True)
class Shift:
    """New files are taken while there is room, and each item's next step is done when it is due."""

    work: Work
    incoming: Incoming
    wish: Wish
    tell: Tell
    clock: Clock
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _odd: dict[str, str] = field(default_factory=dict)
    _is_all_well: bool = True

    def run(self, items: list[Item]) -> int:
        """Until there is nothing left, with --once; else until somebody stops it. Raises Trouble."""
        while True:
            items = self._advance(items)
            seen = self.incoming.look(self.wish.at_once - len(items))
            self._note_odd(seen)
            taken = [self.work.take(name) for name in seen.whole]
            items = [*items, *self._advance([one for one in taken if not one.filed])]
            if self.wish.once and not items and not seen.waiting:
                return Exit.DONE if self._is_all_well else Exit.REFUSED_BY_SLURM
            self._rest(items, has_room=bool(seen.waiting) and len(items) < self.wish.at_once)

    def _advance(self, items: list[Item]) -> list[Item]:
        """Those that are not over."""
        left = []
        for item in items:
            pace = self._paces.setdefault(item.key, _Pace())
            after = self._step(item, pace) if pace.due <= self.clock.now() else item
            if after.filed:
                del self._paces[item.key]
                self._is_all_well &= not after.place.startswith(f"{FAILED}/")
            else:
                left.append(after)
        return left

    def _step(self, item: Item, pace: _Pace) -> Item:
        try:
            after = self.work.go_on(item)
        except Trouble as trouble:
            if trouble.code not in _LATER:
                raise
            if trouble.sentence != pace.said:
                pace.said = trouble.sentence
                self.tell(item.name, f"waits: {printable(trouble.sentence)}")
            pace.due = self.clock.now() + (trouble.retry_after_seconds or pace.pause)
            pace.pause = min(pace.pause * _SLOWER, _MOST_PAUSE)
            return item
        pace.said = ""
        is_new = after.job_id != item.job_id
        pace.pause = _FIRST_PAUSE if is_new else min(pace.pause * _SLOWER, _MOST_PAUSE)
        pace.due = self.clock.now() + pace.pause
        return after

    def _rest(self, items: list[Item], *, has_room: bool) -> None:
        """Until the next step is due or the folder is looked at again."""
        dues = [self._paces[item.key].due for item in items if item.key in self._paces]
        until = min(dues, default=self.clock.now() + _LOOK_SECONDS)
        most = min(_LOOK_SECONDS, self.wish.settle_seconds or _LOOK_SECONDS) if has_room else 1.0
        self.clock.sleep(max(0.0, min(until - self.clock.now(), most)))

    def _note_odd(self, seen: Seen) -> None:
        """Once each."""
        for name, why in seen.odd.items():
            if self._odd.get(name) != why:
                self.tell(name, f"left alone: {why}")
        self._odd = seen.odd


def _tell(name: str, what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {printable(name)}  {what}")


def _tell_json(name: str, what: str) -> None:
    shown = os.fsencode(name).decode("utf-8", "replace")
    click.echo(json.dumps({"file": shown, "event": what}))
