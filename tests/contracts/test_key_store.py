"""What every KeyStore keeps: run on the fake, on the file and on a real Valkey or Redis."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.edges.key_store import SqliteKeyStore
from gateway.edges.shared_keys import SharedKeys
from gateway.stages.idempotency import Caps, KeyEntry, KeysExceeded, KeyStore, StoredAnswer
from tests.fake_keys import CAPS, FakeKeyStore
from tests.store_world import new_store

NOW = 1_800_000_000.0
ANSWER = StoredAnswer(200, "application/json", b'{"job_id":7,"\xff":0}', 7)


def entry(key: str = "k", identity: str = "alice", **changes: object) -> KeyEntry:
    made = KeyEntry(key, identity, "f", f"m-{key}", "alice", "r" * 32, "this", NOW, NOW + 86_400.5)
    return replace(made, **changes)  # type: ignore[arg-type]  # rows name fields freely


@pytest.fixture(params=["fake", "file", "store"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    if request.param == "fake":
        yield FakeKeyStore()
        return
    if request.param == "store":
        async with new_store(request.getfixturevalue("store_server")) as shared:
            yield SharedKeys(shared)
        return
    made = SqliteKeyStore(tmp_path / "keys.sqlite")
    made.create()
    yield made
    await made.close()


async def test_the_first_entry_of_a_key_is_in_force_and_the_next_ones_get_it(
    store: KeyStore,
) -> None:
    first, second = entry(), entry(fingerprint="g", marker="other", request_id="2")
    assert await store.begin(first, NOW, CAPS) is first
    assert await store.begin(second, NOW, CAPS) == first


async def test_of_many_first_uses_at_once_exactly_one_wins(store: KeyStore) -> None:
    entries = [entry(request_id=str(number)) for number in range(60)]
    held = await asyncio.gather(*(store.begin(one, NOW, CAPS) for one in entries))
    assert sum(one is two for one, two in zip(held, entries, strict=True)) == 1
    assert len({one.request_id for one in held}) == 1


@pytest.mark.parametrize(
    "answer", [ANSWER, StoredAnswer(500, "", b""), StoredAnswer(200, "a/b", bytes(range(256)))]
)
async def test_an_answer_comes_back_byte_for_byte(store: KeyStore, answer: StoredAnswer) -> None:
    await store.begin(entry(), NOW, CAPS)
    await store.finish("k", answer)
    assert await store.begin(entry(request_id="2"), NOW, CAPS) == entry(answer=answer)


async def test_a_forgotten_key_is_free_again_and_forgetting_twice_is_nothing(
    store: KeyStore,
) -> None:
    await store.begin(entry(), NOW, CAPS)
    await store.forget("k")
    await store.forget("k")
    again = entry(request_id="2")
    assert await store.begin(again, NOW, CAPS) is again


async def test_what_is_sent_again_replaces_what_was_begun(store: KeyStore) -> None:
    await store.begin(entry(), NOW, CAPS)
    again = entry(holder="other", begun=NOW + 30, expires=NOW + 100)
    await store.begin_again(again)
    assert await store.begin(entry(), NOW, CAPS) == again


async def test_an_expired_key_is_free_at_the_moment_it_expires(store: KeyStore) -> None:
    old = entry(expires=NOW + 10)
    await store.begin(old, NOW, CAPS)
    assert await store.begin(entry(), NOW + 9.9, CAPS) == old
    fresh = entry(request_id="2")
    assert await store.begin(fresh, NOW + 10, CAPS) is fresh


async def test_a_purge_deletes_the_expired_and_nothing_else(store: KeyStore) -> None:
    for number in range(7):
        await store.begin(entry(str(number), expires=NOW + number), NOW - 1, CAPS)
    assert await store.purge(NOW + 4) == 5
    assert await store.purge(NOW + 4) == 0
    assert (await store.begin(entry("6"), NOW, CAPS)).expires == NOW + 6


async def test_each_identity_and_all_together_have_room_for_so_many_keys(store: KeyStore) -> None:
    caps = Caps(2, 3)
    for key in ("1", "2"):
        await store.begin(entry(key), NOW, caps)
    with pytest.raises(KeysExceeded):
        await store.begin(entry("3"), NOW, caps)
    assert await store.begin(entry("1"), NOW, caps) == entry("1"), "known keys are served"
    await store.begin(entry("4", "bob"), NOW, caps)
    with pytest.raises(KeysExceeded):
        await store.begin(entry("5", "carol"), NOW, caps)
    await store.forget("1")
    await store.begin(entry("3", expires=NOW + 1), NOW, caps)
    await store.purge(NOW + 1)
    fresh = entry("6")
    assert await store.begin(fresh, NOW, caps) is fresh
    with pytest.raises(KeysExceeded):
        await store.begin(entry("7"), NOW, caps)


async def test_a_key_sent_again_counts_once(store: KeyStore) -> None:
    caps = Caps(2, 10)
    await store.begin(entry("1"), NOW, caps)
    for _ in range(3):
        await store.begin_again(entry("1"))
    fresh = entry("2")
    assert await store.begin(fresh, NOW, caps) is fresh
