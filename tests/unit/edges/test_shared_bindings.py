"""First-use bindings of several machines, and a store that has forgotten them."""

from pathlib import Path

import pytest

from gateway.edges.shared_bindings import NAME_FILE, SharedBindings
from gateway.stages.map_user import Binding, DirectoryDoubt
from lab.store import StoreServer
from tests.fakes import ISSUER
from tests.store_world import new_store

ALICE, BOB = Binding(ISSUER, "1", "alice"), Binding(ISSUER, "2", "bob")
THIEF = Binding(ISSUER, "9", "alice")


def machine(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(exist_ok=True)
    return made


async def test_machines_know_of_each_others_bindings(
    tmp_path: Path, store_server: StoreServer
) -> None:
    async with new_store(store_server) as store:
        here = SharedBindings(store, machine(tmp_path, "here"))
        there = SharedBindings(store, machine(tmp_path, "there"))
        assert await here.bind(ALICE) == ALICE
        assert await there.bind(THIEF) == ALICE
        assert await there.bind(BOB) == BOB
        rows = await here.remembered()
        assert [(row.user, row.subject) for row in rows] == [("alice", "1"), ("bob", "2")]
        assert rows[0].bound_at.endswith("Z")


async def test_a_store_that_has_forgotten_lets_nobody_in_until_somebody_says_so(
    tmp_path: Path, store_server: StoreServer
) -> None:
    async with new_store(store_server) as store:
        folder = machine(tmp_path, "here")
        bindings = SharedBindings(store, folder)
        await bindings.bind(ALICE)
        await store.client.delete(*await store.client.keys(f"{store.prefix}:*"))
        for known in (bindings, SharedBindings(store, folder)):
            with pytest.raises(DirectoryDoubt, match=NAME_FILE):
                await known.bind(THIEF)
        await SharedBindings(store, machine(tmp_path, "new")).bind(BOB)
        with pytest.raises(DirectoryDoubt):
            await SharedBindings(store, folder).bind(THIEF)
        (folder / NAME_FILE).unlink()
        assert await SharedBindings(store, folder).bind(THIEF) == THIEF


async def test_looking_binds_nothing_and_leaves_no_file(
    tmp_path: Path, store_server: StoreServer
) -> None:
    async with new_store(store_server) as store:
        looking = SharedBindings(store, machine(tmp_path, "looking"))
        assert await looking.peek(ALICE) == ALICE
        await SharedBindings(store, machine(tmp_path, "here")).bind(THIEF)
        assert await looking.peek(ALICE) == THIEF
        assert not (tmp_path / "looking" / NAME_FILE).exists()


async def test_what_is_removed_is_free_again(tmp_path: Path, store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        bindings = SharedBindings(store, tmp_path)
        await bindings.bind(ALICE)
        await bindings.bind(BOB)
        assert [row.user for row in await bindings.remove(ISSUER, "1")] == ["alice"]
        assert [row.subject for row in await bindings.remove_user("bob")] == ["2"]
        assert await bindings.remove_user("bob") == await bindings.remove(ISSUER, "1") == []
        assert await bindings.bind(THIEF) == THIEF
