"""What every SessionStore keeps: run on the fake, on the file and on a real Valkey or Redis."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.edges.session_store import SqliteSessionStore
from gateway.edges.shared_sessions import SharedSessions
from gateway.sign_in.session import Room, Session, SessionDoubt, SessionsExceeded, SessionStore
from tests.fake_sessions import FakeSessionStore
from tests.store_world import new_store

NOW = 1_800_000_000.0
IDLE = 100.0
ROOM = Room(100, 1000)
ISSUER = "https://idp.example.org"


def session(name: str, **changes: object) -> Session:
    made = Session(
        id_hash=f"{name}-{'0' * 60}"[:64],
        client="campus",
        issuer=ISSUER,
        subject="alice",
        sid=f"sid of {name}",
        created=NOW,
        last_used=NOW,
        ends=NOW + 1000,
        checked=NOW,
        address="192.0.2.7",
        agent="a browser",
        sealed=b"\x00\xff sealed",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # rows name fields freely


@pytest.fixture(params=["fake", "file", "store"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    if request.param == "fake":
        yield FakeSessionStore()
        return
    if request.param == "store":
        async with new_store(request.getfixturevalue("store_server")) as shared:
            yield SharedSessions(shared)
        return
    made = SqliteSessionStore(tmp_path / "sessions.sqlite")
    made.create_file()
    yield made
    await made.close()


async def test_a_session_comes_back_as_it_was_kept(store: SessionStore) -> None:
    kept = session("a")
    assert await store.create(kept, ROOM) == []
    assert await store.find(kept.id_hash) == kept
    assert await store.find("another") is None


async def test_an_ended_session_is_gone_and_ending_twice_is_nothing(store: SessionStore) -> None:
    await store.create(session("a"), ROOM)
    assert await store.end(session("a").id_hash)
    assert not await store.end(session("a").id_hash)
    assert await store.find(session("a").id_hash) is None


async def test_use_moves_forward_only(store: SessionStore) -> None:
    kept = session("a")
    await store.create(kept, ROOM)
    for at in (NOW + 50, NOW + 20):
        await store.touch(kept.id_hash, at)
    found = await store.find(kept.id_hash)
    assert found is not None
    assert found.last_used == NOW + 50
    await store.touch("nobody", NOW)


async def test_of_two_changes_of_one_version_the_first_holds(store: SessionStore) -> None:
    """So that a refresh token that was used is never written over the one that replaced it."""
    kept = session("a")
    await store.create(kept, ROOM)
    changes = [replace(kept, sealed=f"{n}".encode(), version=2, checked=NOW + n) for n in range(9)]
    done = await asyncio.gather(*(store.replace(one) for one in changes))
    assert sum(done) == 1
    assert await store.find(kept.id_hash) == changes[done.index(True)]
    assert not await store.replace(replace(kept, version=4))
    assert not await store.replace(session("b", version=2))


async def test_a_change_leaves_the_use_as_it_is(store: SessionStore) -> None:
    kept = session("a")
    await store.create(kept, ROOM)
    await store.touch(kept.id_hash, NOW + 7)
    assert await store.replace(replace(kept, version=2))
    found = await store.find(kept.id_hash)
    assert found is not None
    assert found.last_used == NOW + 7


async def test_one_session_too_many_of_a_subject_ends_the_one_unused_for_longest(
    store: SessionStore,
) -> None:
    for name, used in (("a", 3), ("b", 1), ("c", 2)):
        await store.create(session(name, last_used=NOW + used), Room(3, 10))
    await store.create(session("other", subject="bob"), Room(3, 10))
    assert await store.create(session("d", last_used=NOW + 4), Room(3, 10)) == [
        session("b").id_hash
    ]
    mine = await store.of_subject(ISSUER, "alice")
    assert [one.id_hash[0] for one in mine] == ["d", "a", "c"], "the last used first"


async def test_there_is_room_for_so_many_in_all(store: SessionStore) -> None:
    await store.create(session("a"), Room(3, 1))
    with pytest.raises(SessionsExceeded):
        await store.create(session("b", subject="bob"), Room(3, 1))
    assert await store.find(session("b").id_hash) is None


@pytest.mark.parametrize(
    ("subject", "sid", "ended"),
    [
        ("alice", "", {"a", "b"}),
        ("", "sid of a", {"a"}),
        ("alice", "sid of c", set()),
        ("bob", "sid of c", {"c"}),
        ("carol", "sid of another", {"e"}),
        ("", "sid of another", set()),
        ("", "", set()),
    ],
)
async def test_a_provider_ends_the_sessions_of_a_subject_or_of_one_of_its_own_sessions(
    store: SessionStore, subject: str, sid: str, ended: set[str]
) -> None:
    """A session of the subject whose `sid` was never told may be the one that is meant."""
    untold = session("e", subject="carol", sid="")
    for one in (session("a"), session("b"), session("c", subject="bob"), untold):
        await store.create(one, ROOM)
    foreign = session("d", issuer="https://other.example.org", sid="sid of a")
    await store.create(foreign, ROOM)
    gone = await store.end_all_once("logout j", NOW + 10, ISSUER, subject, sid)
    assert gone is not None
    assert {one[0] for one in gone} == ended
    assert await store.find(foreign.id_hash) is not None


async def test_a_word_to_end_sessions_is_good_once(store: SessionStore) -> None:
    for name in ("a", "b"):
        await store.create(session(name), ROOM)
    words = (store.end_all_once("logout j", NOW + 10, ISSUER, "alice") for _ in range(5))
    heard = [one for one in await asyncio.gather(*words) if one is not None]
    assert [len(one) for one in heard] == [2]
    await store.create(session("c"), ROOM)
    assert await store.end_all_once("logout j", NOW + 10, ISSUER, "alice") is None
    assert await store.find(session("c").id_hash) is not None
    assert not await store.use_once("logout j", NOW + 10), "one memory for all that is used once"


async def test_a_value_is_used_once_until_it_is_forgotten(store: SessionStore) -> None:
    first = await asyncio.gather(*(store.use_once("state x", NOW + 10) for _ in range(20)))
    assert sum(first) == 1
    assert await store.use_once("state y", NOW + 10)
    await store.purge(NOW + 9, IDLE)
    assert not await store.use_once("state x", NOW + 10)
    await store.purge(NOW + 10, IDLE)
    assert await store.use_once("state x", NOW + 20)


async def test_a_purge_forgets_what_is_over_and_nothing_else(store: SessionStore) -> None:
    await store.create(session("a", ends=NOW + 5), ROOM)
    await store.create(session("b", last_used=NOW - IDLE + 5), ROOM)
    await store.create(session("c"), ROOM)
    assert await store.purge(NOW + 4, IDLE) == 0
    assert await store.purge(NOW + 5, IDLE) == 2
    assert await store.find(session("c").id_hash) == session("c")


async def test_a_restart_signs_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    before = SqliteSessionStore(path)
    before.create_file()
    await before.create(session("a"), ROOM)
    await before.close()
    assert path.stat().st_mode & 0o777 == 0o600
    after = SqliteSessionStore(path)
    after.create_file()
    assert await after.find(session("a").id_hash) == session("a")
    await after.close()


async def test_a_word_that_could_not_be_followed_is_heard_again(tmp_path: Path) -> None:
    """A provider that got no answer sends the same logout token once more."""
    path = tmp_path / "sessions.sqlite"
    store = SqliteSessionStore(path)
    store.create_file()
    await store.create(session("a"), ROOM)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE DELETE ON session BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(SessionDoubt, match="full"):
            await store.end_all_once("logout j", NOW + 10, ISSUER, "alice")
        other.execute("DROP TRIGGER full")
    assert await store.end_all_once("logout j", NOW + 10, ISSUER, "alice") == [session("a").id_hash]
    await store.close()
