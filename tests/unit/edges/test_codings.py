"""Bodies of every size come back from a coding as they were; short ones are made without a thread."""

import random
import threading
import zlib

import orjson
import pytest
from backports import zstd

from gateway.edges.codings import AT_ONCE_BYTES, ENCODERS
from gateway.model import CacheWish
from tests.cache_world import CacheWorld, headers_of

DECODERS = {"zstd": zstd.decompress, "gzip": lambda data: zlib.decompress(data, wbits=31)}
NUMBERS = random.Random(7)  # noqa: S311 (no secret)


def jobs(count: int) -> bytes:
    """Much the same again and again, as jobs are."""
    numbers = {f"field_{n}": {"set": True, "infinite": False, "number": n} for n in range(120)}
    listed = [
        {"job_id": n, "name": f"run-{NUMBERS.randrange(99999)}", **numbers} for n in range(count)
    ]
    return orjson.dumps({"jobs": listed})


@pytest.mark.parametrize("coding", list(DECODERS))
@pytest.mark.parametrize("count", [0, 1, 100, 300])
def test_what_is_coded_comes_back(coding: str, count: int) -> None:
    body = jobs(count)
    assert DECODERS[coding](ENCODERS[coding](body)) == body


def test_a_part_of_a_list_is_made_smaller_by_gzip_than_the_whole_of_one() -> None:
    """It costs a millisecond, where the whole would take a tenth of a second more."""
    body = jobs(100)
    part, longer = ENCODERS["gzip"](body), ENCODERS["gzip"](body * 10)
    assert len(part) * 3 < len(longer) / 10 * 2


@pytest.mark.parametrize("coding", list(DECODERS))
@pytest.mark.parametrize("is_long", [False, True])
async def test_only_long_bodies_are_coded_in_a_thread(coding: str, is_long: bool) -> None:
    world = CacheWorld(maximum_bytes=10_000_000, maximum_answer_bytes=5_000_000)
    body = jobs(10)
    body += b" " * (AT_ONCE_BYTES[coding] + is_long - len(body))
    world.slurm.body = lambda _: body
    (await world.text())  # its tag may need one
    begun: list[str] = []
    threading.settrace(lambda *_: begun.append(threading.current_thread().name))
    try:
        answer = await world.ask(cache_wish=CacheWish(coding))
    finally:
        threading.settrace(None)
    assert headers_of(answer)["content-encoding"] == coding
    assert bool(begun) is is_long
    answer.close()
