"""Accept-Encoding and Cache-Control, each by itself."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CacheWish
from gateway.request.cache_wish import CODINGS, read_wish
from gateway.stages.receive import Receive

ROWS = tomllib.loads((Path(__file__).parent / "cache_wishes.toml").read_text("utf-8"))["wish"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_what_clients_send_is_understood(row: dict[str, Any]) -> None:
    wish = read_wish(row.get("accept_encoding", "").encode(), row.get("cache_control", "").encode())
    assert wish == CacheWish(row.get("coding", ""), row.get("maximum_age_seconds"))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_value_is_too_odd(accept_encoding: bytes, cache_control: bytes) -> None:
    coding, age = read_wish(accept_encoding, cache_control)
    assert coding in ("", *CODINGS)
    assert age is None or 0 <= age < 1e9


@given(st.dictionaries(st.sampled_from([*CODINGS, "identity", "*"]), st.integers(0, 10)))
def test_a_coding_is_chosen_only_where_it_is_welcome(qualities: dict[str, int]) -> None:
    text = ", ".join(f"{name};q={quality / 10}" for name, quality in qualities.items())
    coding = read_wish(text.encode(), b"").coding
    if coding:
        assert qualities.get(coding, qualities.get("*", 0)) > 0


FIELDS = (
    (b"host", b"localhost"),
    (b"accept-encoding", b"gzip"),
    (b"accept-encoding", b"zstd"),
    (b"cache-control", b"no-cache"),
)


@pytest.mark.parametrize(("has_cache", "wish"), [(True, CacheWish("zstd", 0.0)), (False, None)])
def test_wishes_are_read_only_where_answers_are_kept(
    has_cache: bool, wish: CacheWish | None
) -> None:
    receive = Receive(has_cache=has_cache)
    assert receive("GET", b"/slurm/v0.0.42/jobs", FIELDS, None, "1").cache_wish == wish
