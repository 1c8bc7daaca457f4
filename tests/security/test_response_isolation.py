"""A thousand clients cut off in the middle of hostile answers -> the next user never sees a byte that is not theirs.

Through a whole running gateway. Every request is for a job of its own, and every answer is made of the user's
name and that job's number.
"""

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lab.toml_text import Settings
from tests.measured import note
from tests.security.hostile_upstream import (
    ANSWERS,
    LATER_SECONDS,
    HostileUpstream,
    hostile_upstream,
)
from tests.security.marked_person import Person
from tests.serving import Served, served

USERS = ("alice", "bob", "carol")
WORKERS = 8
SEED = 20261121
SHARING_SECONDS = 60.0
SETTINGS: Settings = {
    "limit": {
        "rates": {"read": "1000000/second", "read-heavy": "1000000/second"},
        "concurrent_per_identity": 64,
    },
}
FORWARD: Settings = {"connections": 12, "idle_seconds": 0.5, "read_seconds": 0.5}
NUMBERS = range(len(ANSWERS))
UNKNOWABLE = [number for number in NUMBERS if ANSWERS[number].get("unknowable")]
KNOWABLE = [number for number in NUMBERS if number not in UNKNOWABLE]
HONEST = [number for number in NUMBERS if ANSWERS[number].get("honest")]
QUICK = [number for number in NUMBERS if not ANSWERS[number].get("slow")]
LATE = [number for number in QUICK if ANSWERS[number]["then"] == "late"]
ENDING = [number for number in NUMBERS if number in LATE or ANSWERS[number].get("ends")]
LASTING = [number for number in QUICK if number in KNOWABLE and number not in ENDING]


class Jobs:
    """Job numbers that were never asked for before, each of which gets a certain row."""

    def __init__(self) -> None:
        self._rounds = itertools.count(1)

    def of(self, row: int) -> int:
        return next(self._rounds) * len(ANSWERS) + row


class World:
    """A gateway before a hostile slurmrestd."""

    def __init__(self, gateway: Served, upstream: HostileUpstream, *, by_user: bool) -> None:
        self.by_user = by_user
        self.gateway, self.upstream, self.jobs = gateway, upstream, Jobs()
        self._generation = 1

    @contextmanager
    def people(self) -> Iterator[list[Person]]:
        """The three users; their connections are closed in the end."""
        found = [Person(name, self.gateway, by_user=self.by_user) for name in USERS]
        try:
            yield found
        finally:
            for person in found:
                person.leave()

    def begin_anew(self) -> None:
        """A reload that changes [forward] leaves all connections behind, and the next one is probed at once."""
        self._generation += 1
        self.gateway.write({"forward": {"heavy_seconds": 300.0 + self._generation}})
        self.gateway.tell(signal.SIGHUP)
        self.gateway.await_log(f"generation {self._generation} is in force")

    def await_sharing(self) -> None:
        """Until connections serve one user after the other."""
        before, end = self.upstream.shared, time.monotonic() + SHARING_SECONDS
        with self.people() as people:
            while self.upstream.shared - before < len(USERS):
                assert time.monotonic() < end, "connections are not shared"
                for person in people * 2:
                    person.asks(self.jobs.of(0))
                if self.upstream.shared == before:
                    self.begin_anew()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with hostile_upstream() as upstream:
        settings = {**SETTINGS, "forward": {**FORWARD, "upstream": upstream.url}}
        with served(tmp_path_factory.mktemp("sharing"), settings) as gateway:
            yield World(gateway, upstream, by_user=False)
            assert "Traceback" not in gateway.log


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same with `share_connections = false`."""
    with hostile_upstream() as upstream:
        forward = {**FORWARD, "upstream": upstream.url, "share_connections": False}
        settings = {**SETTINGS, "forward": forward}
        with served(tmp_path_factory.mktemp("apart"), settings) as gateway:
            world = World(gateway, upstream, by_user=True)
            with world.people() as people:
                for person in people * 5:  # it would be shared from now on
                    person.asks(world.jobs.of(0))
            yield world
            assert "Traceback" not in gateway.log
        assert upstream.shared == 0


def use(world: World, rows: list[int], seed: int, clients: int) -> Counter[str]:
    """One worker: a client is cut off, then two other users ask on connections that they keep."""
    chance, counted = random.Random(seed), Counter[str]()  # noqa: S311  # repeatable on purpose
    with world.people() as people:
        for _ in range(clients):
            chance.shuffle(people)
            first, second, third = people
            first.hangs_up(world.jobs.of(chance.choice(rows)), chance)
            row = chance.choice(rows)
            second.asks(world.jobs.of(row))
            status = third.asks(world.jobs.of(chance.choice(HONEST)))
            counted.update(("cut off", f"row {row}", "served" if status == 200 else "failed"))
    return counted


def crowd(world: World, rows: list[int], clients: int) -> Counter[str]:
    """All workers at once."""
    share = clients // WORKERS
    with ThreadPoolExecutor(WORKERS) as workers:
        runs = [workers.submit(use, world, rows, SEED + number, share) for number in range(WORKERS)]
        return sum((run.result() for run in runs), Counter[str]())


@pytest.mark.parametrize("row", KNOWABLE, ids=lambda row: ANSWERS[row]["why"])
def test_5_the_next_user_sees_nothing_of_an_answer(world: World, row: int) -> None:
    """Three users in turn, on connections to slurmrestd that they are seen to share."""
    case = ANSWERS[row]
    world.await_sharing()
    with world.people() as people:
        turns = list(zip(people, people[1:] + people[:1], strict=True))
        for person, following in turns[: 1 if case.get("slow") else None]:
            status = person.asks(world.jobs.of(row))
            assert status == 200 or not case.get("honest")
            status = following.asks(world.jobs.of(0))
            assert status == 200 or case["then"] == "late"  # its connection may have been spoilt
            following.asks(world.jobs.of(0))


@pytest.mark.parametrize("row", LATE, ids=lambda row: ANSWERS[row]["why"])
def test_5_what_comes_before_the_next_request_is_never_its_answer(world: World, row: int) -> None:
    """Late, but while the connection waits: any byte then ends it, a well-formed answer too."""
    world.await_sharing()
    with world.people() as (first, second, third):
        first.asks(world.jobs.of(row))
        time.sleep(10 * LATER_SECONDS)
        assert second.asks(world.jobs.of(0)) == 200
        assert third.asks(world.jobs.of(0)) == 200


@pytest.mark.parametrize("row", UNKNOWABLE, ids=lambda row: ANSWERS[row]["why"])
def test_5_a_connection_of_ones_own_keeps_every_answer_with_its_user(
    apart: World, row: int
) -> None:
    """Those too that a shared connection could not tell from the next user's."""
    with apart.people() as (first, second, third):
        for _ in range(10):
            first.asks(apart.jobs.of(row))
            assert second.asks(apart.jobs.of(0)) == 200
            assert third.asks(apart.jobs.of(0)) == 200


@pytest.mark.parametrize(
    "clients",
    [1000, pytest.param(20_000, marks=pytest.mark.long)],
    ids=["a thousand", "twenty thousand"],
)
def test_5_clients_are_cut_off_and_nobody_sees_what_is_not_theirs(
    world: World, apart: World, clients: int
) -> None:
    """First with answers after which connections are shared on, then with all."""
    world.await_sharing()
    before = world.upstream.shared
    shared = crowd(world, LASTING, clients * 3 // 5)
    assert world.upstream.shared - before > clients // 5, "connections were hardly ever shared"
    counted = shared + crowd(world, [n for n in KNOWABLE if n in QUICK], clients // 5)
    counted += crowd(apart, QUICK, clients - counted["cut off"])
    assert counted["cut off"] == clients
    assert counted["served"] > clients * 3 // 4
    assert {f"row {row}" for row in QUICK} <= set(counted)
    note(
        "response-isolation",
        cases=3 * clients,
        cut_off=clients,
        kinds_of_answers=len(ANSWERS),
        requests_on_a_connection_of_another_user=world.upstream.shared,
        failures=0,
    )
