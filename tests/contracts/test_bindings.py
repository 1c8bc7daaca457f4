"""What every Bindings keeps: run on the fake, on the file and on a real Valkey or Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.edges.bindings import BindingsFile
from gateway.edges.few_threads import FewThreads
from gateway.edges.shared_bindings import SharedBindings
from gateway.stages.map_user import Binding, Bindings
from tests.fake_users import FakeBindings
from tests.fakes import ISSUER
from tests.store_world import new_store

ALICE = Binding(ISSUER, "1", "alice")


@pytest.fixture(params=["fake", "file", "store"])
async def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bindings]:
    if request.param == "fake":
        yield FakeBindings()
        return
    if request.param == "store":
        async with new_store(request.getfixturevalue("store_server")) as shared:
            yield SharedBindings(shared, tmp_path)
        return
    made = BindingsFile(tmp_path / "bindings.sqlite", FewThreads(4))
    made.create()
    yield made


async def test_the_first_use_binds_and_binds_again_to_the_same(bindings: Bindings) -> None:
    assert await bindings.bind(ALICE) == ALICE
    assert await bindings.bind(ALICE) == ALICE


@pytest.mark.parametrize(
    "second",
    [
        Binding(ISSUER, "2", "alice"),
        Binding("https://other.example.org", "1", "alice"),
        Binding(ISSUER, "1", "bob"),
        Binding(ISSUER, "1 ", "alice"),
        Binding(ISSUER, "", "alice"),
    ],
)
async def test_what_is_bound_stands_in_the_way_of_everything_else(
    bindings: Bindings, second: Binding
) -> None:
    await bindings.bind(ALICE)
    assert await bindings.bind(second) == ALICE
    assert await bindings.bind(ALICE) == ALICE


async def test_subjects_and_users_that_have_nothing_in_common_bind_apart(
    bindings: Bindings,
) -> None:
    others = [Binding(ISSUER, "2", "bob"), Binding("https://other.example.org", "1", "carol")]
    await bindings.bind(ALICE)
    assert [await bindings.bind(other) for other in others] == others


async def test_of_many_first_uses_at_once_exactly_one_wins(bindings: Bindings) -> None:
    wanted = [Binding(ISSUER, str(number), "alice") for number in range(40)]
    held = await asyncio.gather(*(bindings.bind(one) for one in wanted))
    assert len(set(held)) == 1
