"""Parts of lists: as a stream and by index the same, in the envelope as it came, page by page."""

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.edges.selected_answers import (
    index_of,
    put_in,
    select_indexed,
    select_streamed,
)
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, CacheWish, Selection
from gateway.slurm_api.cursor import read_cursor
from gateway.slurm_api.list_index import ListIndex, ListUnreadable
from gateway.slurm_api.selecting import FilterUnknown
from gateway.slurm_api.selection import LISTINGS
from gateway.stages.forward import own_head
from tests.cache_world import MAXIMUM_LIST_BYTES, CacheWorld, grant_for, headers_of
from tests.upstream_kit import READ, settled

JOBS = "GET /slurm/*/jobs"
ENVELOPE = b'{ "meta":{"jobs":[1]},\n"jobs" : [%b] , "errors":[], "warnings":[{"a":"]}"}]}'


def job(number: int, **members: Any) -> dict[str, Any]:
    user = ("alice", "bob")[number % 2]
    time = {"start": number, "end": {"set": True, "number": number * 2}}
    return {"job_id": number, "user_name": user, "job_state": ["RUNNING"], "time": time, **members}


def listed(*jobs: dict[str, Any]) -> bytes:
    return ENVELOPE % b" ,\n ".join(map(orjson.dumps, jobs))


def admission_for(selection: Selection) -> Admission:
    return grant_for(call=READ._replace(selection=selection)).admission


def answer_of(body: bytes, status: int = 200) -> Answer:
    return Answer(own_head(status, len(body), ((b"content-type", b"application/json"),)), body)


async def streamed(body: bytes, selection: Selection) -> tuple[bytes, dict[str, str]]:
    found = await select_streamed(admission_for(selection), answer_of(body))
    return found.whole or b"", headers_of(found)


async def indexed(body: bytes, selection: Selection) -> tuple[bytes, dict[str, str]]:
    admission = admission_for(selection)
    index = await index_of(admission, body)
    page = await select_indexed(admission, index)
    told = {name.decode(): value.decode() for name, value in page.headers}
    return put_in(body, index.begin, index.end, page), told


@pytest.fixture(params=[streamed, indexed], ids=["stream", "index"])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


def only(**wanted: str) -> Selection:
    sets = tuple((name, frozenset(values.split(","))) for name, values in wanted.items())
    return Selection(JOBS, wanted=sets)


async def test_whole_items_stay_byte_for_byte_and_so_does_what_is_around_them(way: Any) -> None:
    odd = b'{"job_id": 2.50 ,"user_name":"alice","x":"\\u00e9\xc3\xa9]}{[","big":18446744073709551615}'
    body = ENVELOPE % (orjson.dumps(job(1)) + b"," + odd + b"," + orjson.dumps(job(3)))
    cut, told = await way(body, only(user="alice"))
    assert cut == ENVELOPE % odd
    assert told["gateway-total"] == "1"
    assert "gateway-cursor" not in told


async def test_fields_are_picked_in_objects_and_lists(way: Any) -> None:
    parts = [{"name": "a", "cpus": 1}, {"name": "b", "cpus": 2}]
    body = listed(job(1, nodes=parts, nothing=None), job(2, nodes=[], nothing=None))
    fields = (("job_id",), ("time", "end", "number"), ("nodes", "name"), ("nothing",))
    cut, _ = await way(body, Selection(JOBS, fields))
    assert orjson.loads(cut)["jobs"] == [
        {
            "job_id": 1,
            "time": {"end": {"number": 2}},
            "nodes": [{"name": "a"}, {"name": "b"}],
            "nothing": None,
        },
        {"job_id": 2, "time": {"end": {"number": 4}}, "nodes": [], "nothing": None},
    ]


@pytest.mark.parametrize(
    ("path", "known"), [(("jobid",), "job_id"), (("time", "begin"), "end, start")]
)
async def test_a_field_that_no_item_has_is_refused_with_those_that_are_there(
    way: Any, path: tuple[str, ...], known: str
) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011  # each way has its own
        await way(listed(job(1), job(2)), Selection(JOBS, (("job_id",), path)))
    error = refusal.value
    if isinstance(error, Denied):
        assert error.reason is Reason.PARAMETER_INVALID
        assert known in error.detail
    else:
        assert known in ", ".join(error.known)  # type: ignore[attr-defined]  # a FieldUnknown


async def test_a_filter_that_no_item_can_answer_is_refused(way: Any) -> None:
    """Nodes of 20.11 have no partitions, jobs of this test no account."""
    for body in (listed(), listed(job(1))):
        try:
            await way(body, only(account="physics"))
        except (Denied, FilterUnknown) as error:
            assert body != listed()
            assert isinstance(error, FilterUnknown) or "gateway.account" in error.detail  # noqa: PT017  # two kinds
        else:
            assert body == listed()


async def test_a_state_in_words_of_no_state_is_refused(way: Any) -> None:
    """Recorded of the accounting of 20.11, where RUNNING is Priority: nothing would be found, as if nothing ran."""
    recorded = [{"job_id": one, "state": {"current": "Priority"}} for one in (1, 2)]
    with pytest.raises((Denied, FilterUnknown)) as raised:
        await way(listed(*recorded), only(state="RUNNING"))
    assert "state" in getattr(raised.value, "detail", str(raised.value))
    known = {"job_id": 3, "state": {"current": ["COMPLETED"]}}
    cut, told = await way(listed(*recorded, known), only(state="RUNNING"))
    assert (orjson.loads(cut)["jobs"], told["gateway-total"]) == ([], "0")


async def test_items_without_a_name_are_the_callers_by_their_number(way: Any) -> None:
    """As 20.11 writes them; the caller has the number 1000."""
    body = listed(job(1, user_name="", user_id=1000), job(2, user_name="", user_id=1001))
    cut, _ = await way(body, only(user="alice"))
    assert [one["job_id"] for one in orjson.loads(cut)["jobs"]] == [1]
    cut, _ = await way(body, only(user="1001"))
    assert [one["job_id"] for one in orjson.loads(cut)["jobs"]] == [2]


async def test_a_field_that_one_item_has_is_known(way: Any) -> None:
    body = listed(job(1, more=None), job(2, more={"a": 1}))
    cut, _ = await way(body, Selection(JOBS, (("more", "a"),)))
    assert orjson.loads(cut)["jobs"] == [{"more": None}, {"more": {"a": 1}}]


async def test_of_an_empty_list_nobody_knows_the_fields(way: Any) -> None:
    cut, told = await way(listed(), Selection(JOBS, (("whatever",),)))
    assert orjson.loads(cut)["jobs"] == []
    assert told == told | {"gateway-total": "0"}


async def pages(way: Any, bodies: list[bytes], selection: Selection) -> list[list[int]]:
    """Page after page, each of another list; the last one as often as it takes."""
    found, cursor, turn = [], None, 0
    while True:
        body = bodies[min(turn, len(bodies) - 1)]
        cut, told = await way(body, selection._replace(cursor=cursor))
        found.append([one["job_id"] for one in orjson.loads(cut)["jobs"]])
        if "gateway-cursor" not in told:
            return found
        cursor, turn = read_cursor(told["gateway-cursor"]), turn + 1
        assert turn < 50


PAGED = Selection(JOBS, limit=2)


def of(*numbers: int) -> bytes:
    return listed(*map(job, numbers))


@pytest.mark.parametrize(
    ("bodies", "shown"),
    [
        ([of(1, 2, 3, 4, 5)], [[1, 2], [3, 4], [5]]),
        ([of(1, 2)], [[1, 2]]),
        ([of()], [[]]),
        ([of(1, 2, 3, 4), of(0, 1, 2, 3, 4)], [[1, 2], [3, 4]]),  # one came before
        ([of(1, 2, 3, 4), of(2, 3, 4)], [[1, 2], [3, 4]]),  # one went before
        ([of(1, 2, 3, 4), of(1, 3, 4)], [[1, 2], [4]]),  # the last one shown has gone
        ([of(7, 7, 7, 7, 7)], [[7, 7], [7, 7], [7]]),  # several of one name
        ([of(1, 2, 3), of()], [[1, 2], []]),
    ],
)
async def test_pages_follow_each_other(
    way: Any, bodies: list[bytes], shown: list[list[int]]
) -> None:
    assert await pages(way, bodies, PAGED) == shown


@given(
    st.lists(st.integers(0, 9), max_size=30),
    st.integers(0, 12),
    st.sampled_from([{}, {"user": "alice"}, {"user": "bob,alice"}, {"user": "carol"}]),
    st.one_of(st.none(), st.tuples(st.integers(0, 31), st.integers(0, 10).map(str))),
    st.sampled_from([(), (("job_id",), ("time", "start"))]),
)
def test_the_stream_and_the_index_say_the_same(
    numbers: list[int],
    limit: int,
    wanted: dict[str, str],
    cursor: tuple[int, str] | None,
    fields: tuple[tuple[str, ...], ...],
) -> None:
    selection = only(**wanted)._replace(limit=limit, cursor=cursor, fields=fields)
    body = of(*numbers)
    by_stream, told = asyncio.run(streamed(body, selection))
    by_index, also_told = asyncio.run(indexed(body, selection))
    assert orjson.loads(by_stream) == orjson.loads(by_index)
    assert also_told.items() <= told.items()
    shown = [one["job_id"] for one in orjson.loads(by_index)["jobs"]]
    assert len(shown) <= (limit or len(numbers))
    if cursor is None:
        assert shown == _expected(numbers, wanted)[: limit or None]


def _expected(numbers: list[int], wanted: dict[str, str]) -> list[int]:
    users = wanted.get("user", "alice,bob").split(",")
    return [number for number in numbers if ("alice", "bob")[number % 2] in users]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_whatever_stands_in_items_they_are_told_apart(value: Any) -> None:
    items = [{"job_id": 1, "x": value}, {"job_id": 2, "jobs": [value]}]
    for dump in (orjson.dumps, _escaped):
        body = ENVELOPE % b",".join(map(dump, items))
        index = ListIndex(body, LISTINGS[JOBS])
        while not index.is_whole:
            index.step(1)
        assert [orjson.loads(body[begin:end]) for begin, end, _ in index.items] == [
            orjson.loads(dump(item)) for item in items
        ]


def _escaped(value: Any) -> bytes:
    return json.dumps(value).encode()


UNREADABLE = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"jobs":{}}',
    b'{"jobs":[1]}',
    b'{"jobs":[{}',
    b'{"jobs":[{}]',
    b'{"jobs":[{},]}',
    b'{"jobs":[]}x',
    b'{"jobs":[]} {}',
    b'{"jobs":[{"a":NaN}]}',
    b'{"jobs":[{"a":}]}',
    b'{"errors":[]}',
    b'{"jobs":[' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]}",
    b'{"jobs":[],"jobs":[]}',
]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: str(body[:30]))
async def test_an_answer_that_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(ListUnreadable):
        await index_of(admission_for(only(user="alice")), body)


LENIENT = {b'{"jobs":[{},]}', b'{"jobs":[],"jobs":[]}'}
"""The stream looks at brackets alone: what is around them, it takes as it is."""


@pytest.mark.parametrize(
    "body", [body for body in UNREADABLE if body not in LENIENT], ids=lambda body: str(body[:30])
)
async def test_a_stream_that_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(Denied) as refusal:
        await select_streamed(admission_for(only(user="alice")), answer_of(body))
    assert refusal.value.reason is Reason.UPSTREAM_INVALID


async def test_an_error_of_slurm_goes_through_as_it_is() -> None:
    answer = answer_of(b'{"errors":[{"error":"x"}]}', 500)
    assert await select_streamed(admission_for(only(user="alice")), answer) is answer


async def test_more_than_there_is_room_for_is_refused() -> None:
    large = listed(*(job(2 * n, x="y" * 60_000) for n in range(600)))
    with pytest.raises(Denied) as refusal:
        await select_streamed(admission_for(only(user="alice")), answer_of(large))
    assert refusal.value.reason is Reason.LIST_TOO_LARGE
    few = only(user="alice")._replace(fields=(("job_id",),), limit=3)
    cut = await select_streamed(admission_for(few), answer_of(large))
    assert len(cut.whole or b"") < 200


async def test_of_fields_only_what_is_picked_takes_room(way: Any) -> None:
    """However long the items are that they stand in."""
    large = listed(*(job(2 * n, x="y" * 60_000) for n in range(600)))
    cut, told = await way(large, only(user="alice")._replace(fields=(("job_id",),)))
    assert orjson.loads(cut)["jobs"] == [{"job_id": 2 * n} for n in range(600)]
    assert told["gateway-total"] == "600"


class TestOfWhatIsKept:
    """One call and one parse, whoever wants which part."""

    @pytest.fixture
    def world(self) -> CacheWorld:
        world = CacheWorld()
        world.slurm.body = lambda _: of(*range(200))
        return world

    async def test_parts_are_made_once_and_kept(self, world: CacheWorld) -> None:
        selection = only(user="bob")._replace(fields=(("job_id",),))
        grant = grant_for(call=READ._replace(selection=selection))
        first, second = await world.ask(grant), await world.ask(grant)
        assert first.whole is second.whole
        assert [one["job_id"] for one in orjson.loads(first.whole or b"")["jobs"]] == [
            *range(1, 200, 2)
        ]
        assert headers_of(first)["gateway-total"] == "100"
        whole = await world.ask()
        assert whole.whole == of(*range(200))
        assert headers_of(whole)["etag"] != headers_of(first)["etag"]
        assert len(world.slurm.sent) == 1

    @pytest.mark.parametrize(
        ("length", "calls"), [(MAXIMUM_LIST_BYTES, 1), (MAXIMUM_LIST_BYTES + 1, 2)]
    )
    async def test_a_list_is_held_for_its_parts_up_to_a_size_of_its_own(
        self, world: CacheWorld, length: int, calls: int
    ) -> None:
        """Which is more than what is held for whole answers."""
        body = of(*range(200))
        world.slurm.body = lambda _: body + b" " * (length - len(body))
        alone = await world.ask()
        assert "cache-status" not in headers_of(alone)
        alone.close()
        world.slurm.sent.clear()
        for user in ("alice", "bob"):
            cut = await world.text(grant_for(call=READ._replace(selection=only(user=user))))
            assert len(orjson.loads(cut)["jobs"]) == 100
        assert len(world.slurm.sent) == calls

    async def test_who_waits_for_the_whole_of_it_shares_it_then(self, world: CacheWorld) -> None:
        """Whichever of the two has asked first."""
        body = of(*range(200))
        world.slurm.body = lambda _: body + b" " * (MAXIMUM_LIST_BYTES - len(body))
        world.slurm.hold = asyncio.Event()
        parts = grant_for(call=READ._replace(selection=only(user="bob")))
        asking = [asyncio.create_task(world.text(grant)) for grant in (grant_for(), parts)]
        await settled(lambda: world.slurm.sent)
        world.slurm.hold.set()
        whole, part = await asyncio.gather(*asking)
        assert len(whole) == MAXIMUM_LIST_BYTES
        assert len(orjson.loads(part)["jobs"]) == 100
        assert len(world.slurm.sent) == 1

    async def test_parts_have_their_own_tags_and_codings(self, world: CacheWorld) -> None:
        grant = grant_for(call=READ._replace(selection=only(user="bob")))
        coded = await world.ask(grant, cache_wish=CacheWish("zstd"))
        headers = headers_of(coded)
        assert headers["content-encoding"] == "zstd"
        told = await world.ask(grant, cache_wish=CacheWish("zstd"), if_none_match=headers["etag"])
        assert told.head.status == 304

    async def test_who_is_held_to_own_jobs_gets_parts_of_these(self, world: CacheWorld) -> None:
        for wanted, count in (({}, 100), ({"user": "bob"}, 0), ({"user": "alice"}, 100)):
            call = READ._replace(selection=only(**wanted)._replace(limit=500), own_jobs_only=True)
            found = await world.ask(grant_for(call=call))
            assert headers_of(found)["gateway-total"] == str(count)
            assert b"bob" not in (found.whole or b"")

    async def test_a_field_that_is_none_is_refused_and_gives_all_back(
        self, world: CacheWorld
    ) -> None:
        call = READ._replace(selection=Selection(JOBS, (("nothing",),)))
        with pytest.raises(Denied) as refusal:
            await world.ask(grant_for(call=call))
        assert refusal.value.reason is Reason.PARAMETER_INVALID
        assert "job_id, job_state, time, user_name" in refusal.value.detail
