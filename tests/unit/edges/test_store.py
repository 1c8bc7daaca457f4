"""The store's client: what it asks, and what it leaves alone, while the server is away."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.edges.store import Store, StoreAway
from gateway.edges.store_client import ERRORS, PasswordFile, connect_to
from lab.places import write_private
from lab.store import StoreServer
from tests.store_world import PATIENT_SECONDS, new_store

ON_BOTH_LOOPS = True


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers, or does not; and counts who asks."""

    def __init__(self) -> None:
        self.is_here, self.asked = True, 0

    async def __call__(self) -> str:
        self.asked += 1
        if not self.is_here:
            raise RedisConnectionError("Connection refused")
        return "pong"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    made = Store(
        client, "example", errors=ERRORS, timeout_seconds=30.0, retry_seconds=1.0, monotonic=clock
    )
    yield made
    await made.close()


async def test_a_server_that_is_away_is_asked_once_in_a_while_and_heals(
    store: Store, clock: Clock
) -> None:
    server, heard = Server(), list[str]()
    store.tell = heard.append
    assert await store.ask("limits", server) == "pong"
    server.is_here = False
    for _ in range(5):
        with pytest.raises(StoreAway, match="Connection refused"):
            await store.ask("limits", server)
    assert server.asked == 2
    clock.now += 1.0
    for _ in range(5):
        with pytest.raises(StoreAway):
            await store.ask("sessions", server)
    assert server.asked == 3
    assert store.missed == {"limits": 5, "sessions": 5}
    server.is_here = True
    clock.now += 1.0
    assert await store.ask("limits", server) == "pong"
    assert (store.problem, heard) == ("", ["ConnectionError: Connection refused", ""])


async def test_while_one_tries_the_others_do_not_wait(store: Store, clock: Clock) -> None:
    server = Server()
    server.is_here = False
    with pytest.raises(StoreAway):
        await store.ask("limits", server)
    clock.now += 1.0
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "pong"

    trying = asyncio.create_task(store.ask("limits", slow))
    await asyncio.sleep(0)
    with pytest.raises(StoreAway):
        await store.ask("limits", server)
    assert server.asked == 1
    gate.set()
    assert await trying == "pong"
    assert store.problem == ""


async def test_no_answer_in_time_is_away(clock: Clock) -> None:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    store = Store(
        client, "example", errors=ERRORS, timeout_seconds=0.001, retry_seconds=1.0, monotonic=clock
    )

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StoreAway, match=r"no answer in 0\.001 s"):
        await store.ask("limits", never)
    await store.close()


async def test_a_question_that_is_cancelled_leaves_no_answer_for_the_next(
    store_server: StoreServer,
) -> None:
    """CVE-2023-28858 and CVE-2023-28859: a connection was used again with an answer still to come."""
    async with new_store(store_server, connections=1) as store:
        client = store.client
        for number in range(200):
            asking = asyncio.create_task(store.ask("test", lambda: client.echo("somebody else's")))
            for _ in range(number % 8):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            mine = f"mine {number}"
            assert await store.ask("test", partial(client.echo, mine)) == mine.encode()


@pytest.mark.parametrize("turns", range(30))
async def test_what_watches_the_store_ends_whenever_it_is_cancelled(
    store_server: StoreServer, turns: int
) -> None:
    """The library swallowed a third of all cancellations, and a gateway did not stop."""
    async with new_store(store_server, retry_seconds=0.0) as store:
        watching = asyncio.create_task(store.keep_watch())
        for _ in range(turns):
            await asyncio.sleep(0)
        watching.cancel()
        async with asyncio.timeout(PATIENT_SECONDS):
            await asyncio.wait([watching])
        assert watching.cancelled()


@pytest.mark.parametrize(
    ("mode", "text", "says"),
    [(0o640, "secret-of-the-store", "open to others"), (0o600, "x" * 5000, "larger than")],
)
def test_a_password_file_that_cannot_be_used_is_an_error_that_does_not_show_it(
    tmp_path: Path, mode: int, text: str, says: str
) -> None:
    path = tmp_path / "password"
    write_private(path, text.encode())
    path.chmod(mode)
    with pytest.raises(OSError, match=says) as caught:
        PasswordFile("", path).get_credentials()
    assert text not in str(caught.value)


async def test_a_wrong_password_is_away_and_a_right_one_heals_without_a_restart(
    tmp_path: Path, store_server: StoreServer, clock: Clock
) -> None:
    path = tmp_path / "password"
    write_private(path, b"wrong\n")
    client = connect_to(
        f"unix:{store_server.socket}", credentials=PasswordFile("", path), connections=2
    )
    store = Store(
        client, "example", errors=ERRORS, timeout_seconds=30.0, retry_seconds=1.0, monotonic=clock
    )
    with pytest.raises(StoreAway, match=r"invalid username-password pair|WRONGPASS"):
        await store.ask("test", client.ping)
    write_private(path, store_server.password_file.read_bytes())
    clock.now += 1.0
    assert await store.ask("test", client.ping)
    await store.close()
