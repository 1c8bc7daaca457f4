"""Entries are bounded in bytes, whatever is read, made of them or under way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edges.cache_entries import Entries, Entry, Key, View
from gateway.edges.cached_answer import Lent, plain_answer
from gateway.stages.forward import own_head

HEAD = own_head(200, 0, ())
ROOM = 3 * (1000 + 2048)


def key(name: str) -> Key:
    return ("alice", ""), name.encode(), "application/json"


def put(
    entries: Entries, name: str, length: int = 1000, number: int = 1, spent_at: float = 10.0
) -> Entry | None:
    if not entries.reserve(length):
        return None
    entry = Entry(HEAD, View(b"x" * length, '"t"'), number, 0.0, spent_at)
    entries.put(key(name), entry, 0.0)
    return entry


def test_the_one_that_was_used_longest_ago_goes_first() -> None:
    entries = Entries(ROOM)
    for name in "abc":
        put(entries, name)
    assert entries.get(key("a")) is not None
    put(entries, "d")
    assert entries.get(key("b")) is None
    assert entries.get(key("a")) is not None
    assert entries.used <= ROOM


def test_what_is_longer_than_all_there_is_drives_nothing_out() -> None:
    entries = Entries(ROOM)
    put(entries, "a")
    assert put(entries, "b", ROOM) is None
    assert entries.get(key("a")) is not None


def test_what_is_still_read_keeps_its_room() -> None:
    entries = Entries(ROOM)
    entry = put(entries, "a", 4000)
    assert entry is not None
    lent = Lent(entries, entry)
    assert put(entries, "b", 4000) is None
    assert len(entries) == 0
    lent.give_back()
    lent.give_back()
    assert entries.used == 0
    assert put(entries, "b", 4000) is not None


def test_a_later_flight_wins_whichever_lands_last() -> None:
    entries = Entries(ROOM)
    late = put(entries, "a", 100, number=7)
    put(entries, "a", 200, number=3)
    assert entries.get(key("a")) is late
    assert entries.used == 100 + 2048


def test_what_is_spent_goes_when_something_comes() -> None:
    entries = Entries(ROOM)
    put(entries, "old", spent_at=-1.0)
    put(entries, "new")
    assert entries.get(key("old")) is None


def test_what_is_made_of_an_entry_counts() -> None:
    entries = Entries(ROOM)
    put(entries, "a")
    put(entries, "b")
    entry = put(entries, "c")
    assert entry is not None
    lent = Lent(entries, entry)
    lent.grow(1000)
    assert entries.get(key("a")) is None
    lent.give_back()
    assert entries.used == 2 * (1000 + 2048) + 1000


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9000), st.booleans())))
def test_no_order_of_events_takes_more_than_there_is(steps: list[tuple[str, int, bool]]) -> None:
    entries, lent = Entries(20_000), []
    for number, (name, length, is_read) in enumerate(steps):
        entry = put(entries, name, length, number)
        assert entries.used <= 20_000
        if entry is not None and is_read:
            lent.append(Lent(entries, entry))
        elif lent:
            lent.pop(0).give_back()
    for one in lent:
        one.give_back()
    left = [entries.get(key(name)) for name in "abcd"]
    assert entries.used == sum(entry.size for entry in left if entry is not None)


@pytest.mark.parametrize("length", [0, 100, 65_536, 65_537, 600_000])
async def test_an_answer_of_any_length_is_read_whole_and_gives_its_entry_back(length: int) -> None:
    entries = Entries(1_000_000)
    entry = put(entries, "a", length)
    assert entry is not None
    answer = plain_answer(Lent(entries, entry))
    body = answer.whole
    if body is None:
        pieces = []
        while not answer.is_over:
            pieces.append(await answer.read())
        body = b"".join(pieces)
        assert max(map(len, pieces)) <= 262_144
    assert body == b"x" * length
    assert (answer.is_arriving, answer.waits_for_reader) == (False, False)
    answer.close()
    assert entry.readers == 0
