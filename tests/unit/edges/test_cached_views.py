"""What clients get of an entry: codings, tags, 304, and own jobs alone; each made once."""

import os
import zlib
from collections.abc import Callable

import orjson
import pytest
from backports import zstd

from gateway.edges.upstream_answer import Answer
from gateway.model import CacheWish, Grant
from tests.cache_world import CacheWorld, grant_for, headers_of
from tests.upstream_kit import READ

LONG = orjson.dumps({"jobs": [{"job_id": n, "user_name": "alice"} for n in range(100)]})
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gzip": lambda data: zlib.decompress(data, wbits=31),
    "zstd": zstd.decompress,
}


@pytest.fixture
def world() -> CacheWorld:
    world = CacheWorld()
    world.slurm.body = lambda _: LONG
    return world


@pytest.mark.parametrize("coding", list(DECODERS))
async def test_a_body_comes_in_the_coding_that_is_wanted(world: CacheWorld, coding: str) -> None:
    found = await world.ask(cache_wish=CacheWish(coding))
    headers = headers_of(found)
    assert headers.get("content-encoding", "") == coding
    body = found.whole or b""
    assert headers["content-length"] == str(len(body))
    assert DECODERS[coding](body) == LONG
    assert coding == "" or len(body) < len(LONG) // 2
    again = await world.ask(cache_wish=CacheWish(coding))
    assert again.whole is found.whole


async def test_short_bodies_and_those_that_do_not_shrink_go_as_they_are(world: CacheWorld) -> None:
    for body in (b"{}", os.urandom(5000)):
        world.slurm.body = lambda _, body=body: body  # type: ignore[misc]  # bound now
        world.clock.advance(2)
        for _ in range(2):
            found = await world.ask(cache_wish=CacheWish("zstd"))
            assert found.whole == body
            assert "content-encoding" not in headers_of(found)


async def test_codings_are_told_apart_by_their_tags(world: CacheWorld) -> None:
    tags = [
        headers_of(await world.ask(cache_wish=CacheWish(coding)))["etag"] for coding in DECODERS
    ]
    assert len(set(tags)) == 3


@pytest.mark.parametrize("coding", list(DECODERS))
async def test_a_client_that_has_it_is_told_so(world: CacheWorld, coding: str) -> None:
    wish = CacheWish(coding)
    tag = headers_of(await world.ask(cache_wish=wish))["etag"]
    found = await world.ask(cache_wish=wish, if_none_match=f'"other", W/{tag}')
    headers = headers_of(found)
    assert (found.head.status, found.whole) == (304, b"")
    assert headers["etag"] == tag
    assert headers["cache-control"] == "private, no-cache"
    assert not {"content-length", "content-encoding", "content-type"} & set(headers)


async def test_the_same_body_fetched_anew_has_the_same_tag(world: CacheWorld) -> None:
    tag = headers_of(await world.ask())["etag"]
    world.clock.advance(2)
    assert (await world.ask(if_none_match=tag)).head.status == 304
    world.slurm.body = lambda _: LONG + b" "
    world.clock.advance(2)
    assert (await world.ask(if_none_match=tag)).head.status == 200


OWN = READ._replace(own_jobs_only=True)


def jobs_of_all(_: Grant) -> bytes:
    return (
        b'{"meta":{"x":"y"}, "jobs":['
        + b",".join(
            b'{"job_id":%d,"user_name":"%b"}' % (n, (b"alice", b"bob")[n % 2]) for n in range(200)
        )
        + b'],"errors":[]}'
    )


async def test_own_jobs_are_cut_out_of_what_is_kept_once(world: CacheWorld) -> None:
    world.slurm.body = jobs_of_all
    first, second = [await world.ask(grant_for(call=OWN)) for _ in range(2)]
    shown = orjson.loads(first.whole or b"")
    assert {job["user_name"] for job in shown["jobs"]} == {"alice"}
    assert len(shown["jobs"]) == 100
    assert second.whole is first.whole
    assert len(world.slurm.sent) == 1


async def test_a_filtered_answer_and_a_whole_one_have_tags_of_their_own(world: CacheWorld) -> None:
    world.slurm.body = jobs_of_all
    own, every = await world.ask(grant_for(call=OWN)), await world.ask()
    assert headers_of(own)["etag"] != headers_of(every)["etag"]
    assert b"bob" in (every.whole or b"")
    assert b"bob" not in (own.whole or b"")
    told = await world.ask(grant_for(call=OWN), if_none_match=headers_of(own)["etag"])
    assert told.head.status == 304


@pytest.mark.parametrize("coding", list(DECODERS))
async def test_a_filtered_answer_is_coded_after_it_was_filtered(
    world: CacheWorld, coding: str
) -> None:
    world.slurm.body = jobs_of_all
    found = await world.ask(grant_for(call=OWN), cache_wish=CacheWish(coding))
    assert b"bob" not in DECODERS[coding](found.whole or b"")


async def test_what_is_made_of_an_entry_counts_in_its_memory(world: CacheWorld) -> None:
    (await world.ask()).close()
    before = world.entries.used
    coded = await world.ask(cache_wish=CacheWish("gzip"))
    assert world.entries.used == before + len(coded.whole or b"")


async def test_other_answers_are_left_alone(world: CacheWorld) -> None:
    answer = Answer((await world.ask()).head, b"{}")
    assert await world.views.finish(grant_for().admission, answer) is answer


async def test_every_reader_gives_the_entry_back(world: CacheWorld) -> None:
    for grant, wish in ((grant_for(), ""), (grant_for(), "zstd"), (grant_for(call=OWN), "gzip")):
        answer = await world.ask(grant, cache_wish=CacheWish(wish))
        entry = answer.lent.entry  # type: ignore[attr-defined]  # a CachedAnswer
        assert entry.readers == 1
        answer.close()
        assert entry.readers == 0
