"""tests/security/corpus/targets.toml -> what receive takes and refuses, and what can never come out of it."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import Target
from gateway.request.target import canonical_target

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/targets.toml").read_text())

SEGMENT = re.compile(r"[ -~]+")
FORBIDDEN = set("/?#%;\\{}")


def why(case: dict[str, Any]) -> str:
    return str(case["why"])


def encode(segments: list[str], query: Iterable[tuple[str, str]]) -> bytes:
    """A target with everything percent-encoded that may be."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    fields = "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in query)
    return f"{path}?{fields}".encode() if fields else path.encode()


def assert_canonical(target: Target) -> None:
    """What the stages behind rely on."""
    assert target.path.startswith("/")
    for segment in [] if target.path == "/" else target.path[1:].split("/"):
        assert SEGMENT.fullmatch(segment)
        assert segment not in (".", "..")
        assert not FORBIDDEN & set(segment)
    names = [name.lower() for name, _ in target.query]
    assert len(names) == len(set(names))
    assert "access_token" not in names
    for name, value in target.query:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", name)
        assert re.fullmatch(r"[ -~]*", value)
        assert not set("%;\\#&") & set(value)


@pytest.mark.parametrize("case", CORPUS["taken"], ids=why)
def test_a_target_with_one_reading_is_brought_into_its_canonical_form(case: dict[str, Any]) -> None:
    query = tuple((name, value) for name, value in case.get("query", []))
    assert canonical_target(case["raw"].encode("latin-1")) == Target(case["path"], query)


@pytest.mark.parametrize("case", CORPUS["refused"], ids=why)
def test_a_target_with_two_readings_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Denied) as refusal:
        canonical_target(case["raw"].encode("latin-1"))
    assert refusal.value.reason.code == case["code"]


@pytest.mark.parametrize("case", CORPUS["refused"], ids=why)
def test_a_refusal_never_repeats_the_target(case: dict[str, Any]) -> None:
    """It may hold a token, or a script."""
    secret = "Canary-7f3a"
    with pytest.raises(Denied) as refusal:
        canonical_target(
            case["raw"].encode("latin-1") + f"/{secret}?access_token={secret}".encode()
        )
    assert secret not in refusal.value.note + refusal.value.detail


PIECES = st.sampled_from(
    b"/ // . .. %2e %2F %25 %00 %41 % ; \\ ? & = + # a job [1-2] \x7f \xc3\xa9 %c3%a9 %3D {".split(
        b" "
    )
)
TARGETS = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda tail: b"/" + tail),
    st.lists(PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces)),
    st.lists(PIECES, max_size=12).map(lambda pieces: b"/a?b=" + b"".join(pieces)),
)


@given(TARGETS)
@example(b"/")
@example(b"/a?b=%2B&c=")
def test_whatever_comes_it_is_refused_or_a_fixed_point(raw: bytes) -> None:
    """Encoding a canonical target in full and receiving it again changes nothing."""
    try:
        target = canonical_target(raw)
    except Denied:
        return
    assert_canonical(target)
    assert canonical_target(encode(target.path[1:].split("/"), target.query)) == target


@given(
    st.lists(
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
    ),
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
        max_size=5,
    ),
)
def test_every_target_of_harmless_characters_is_taken(
    segments: list[str], query: dict[str, str]
) -> None:
    """The gate is no wider than its words, and no narrower."""
    target = Target("/" + "/".join(segments), tuple(query.items()))
    is_harmless = (
        all(s not in (".", "..") and not FORBIDDEN & set(s) for s in segments)
        and not any(set("%;\\#&") & set(value) for value in query.values())
        and len({name.lower() for name in query}) == len(query)
        and "access_token" not in {name.lower() for name in query}
    )
    try:
        assert canonical_target(encode(segments, query.items())) == target
    except Denied:
        assert not is_harmless
    else:
        assert is_harmless


def test_a_query_of_more_parameters_than_any_operation_has_is_refused() -> None:
    fields = [f"a{number}=1" for number in range(101)]
    assert len(canonical_target(f"/a?{'&'.join(fields[:100])}".encode()).query) == 100
    with pytest.raises(Denied) as refusal:
        canonical_target(f"/a?{'&'.join(fields)}".encode())
    assert refusal.value.reason is Reason.TARGET_MALFORMED


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"http://h/a", "begin with a slash"),
        (b"/a%zz", "two hexadecimal digits"),
        (b"/a//b", "empty or a dot segment"),
        (b"/a%2fb", "encoded character"),
        (b"/a?b=1+2", "a plus sign as %2B"),
        (b"/a?b=1&b=2", "given twice"),
        (b"/a?b", "name=value"),
    ],
)
def test_a_client_is_told_what_to_mend(raw: bytes, words: str) -> None:
    with pytest.raises(Denied) as refusal:
        canonical_target(raw)
    assert words in refusal.value.detail
