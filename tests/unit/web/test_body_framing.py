"""Where a body ends: exactly there, however its bytes are cut, or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.web.body_framing import BodyFraming, ChunkedBody, SizedBody, body_framing


def feed(body: BodyFraming, data: bytes, cuts: list[int]) -> int:
    """Give the data in pieces until the body is complete; how many bytes were its own."""
    taken, start = 0, 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        piece, start = data[start:end], end
        while piece and not body.is_complete:
            count = body.take(piece)
            taken, piece = taken + count, piece[count:]
    return taken


CHUNKS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40),
        st.sampled_from(["{:x}", "{:X}", "0{:x}", "{:x};a", '{:x};a="b c"']),
    ),
    max_size=6,
)
CUTS = st.lists(st.integers(0, 1000), max_size=8)


@given(CHUNKS, st.binary(max_size=20), CUTS)
def test_a_chunked_body_ends_behind_its_last_chunk(
    chunks: list[tuple[bytes, str]], rest: bytes, cuts: list[int]
) -> None:
    encoded = b"".join(
        form.format(len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk, form in chunks
    )
    encoded += b"0\r\n\r\n"
    body = ChunkedBody()
    assert feed(body, encoded + rest, cuts) == len(encoded)
    assert body.is_complete


@given(st.integers(1, 100), st.binary(max_size=200), CUTS)
def test_a_sized_body_ends_where_it_was_said(length: int, data: bytes, cuts: list[int]) -> None:
    body = SizedBody(length)
    assert feed(body, data, cuts) == min(length, len(data))
    assert body.is_complete == (len(data) >= length)


@given(st.binary(max_size=80), CUTS)
def test_bytes_that_are_no_chunks_are_refused_or_waited_for(data: bytes, cuts: list[int]) -> None:
    """Never another exception, and the same verdict however they are cut."""

    def verdict(cut: list[int]) -> object:
        body = ChunkedBody()
        try:
            return feed(body, data, cut), body.is_complete
        except Denied as denied:
            return denied.reason

    assert verdict(cuts) == verdict([]) == verdict(list(range(len(data))))


@pytest.mark.parametrize("length", [255, 256, 257])
def test_a_chunk_line_has_at_most_256_bytes(length: int) -> None:
    line = b"1;" + b"a" * (length - 4) + b"\r\n"
    body = ChunkedBody()
    if length <= 256:
        assert body.take(line) == length
    else:
        with pytest.raises(Denied):
            body.take(line)


def test_a_chunk_line_that_never_ends_is_not_kept() -> None:
    body = ChunkedBody()
    for _ in range(255):
        body.take(b"0")
    with pytest.raises(Denied):
        body.take(b"0")


@pytest.mark.parametrize("first", [b"X", b"\n", b"\rX", b" "])
def test_a_trailer_is_refused_with_its_first_byte(first: bytes) -> None:
    body = ChunkedBody()
    with pytest.raises(Denied) as refusal:
        body.take(b"0\r\n" + first)
    assert refusal.value.reason is Reason.FRAMING_INVALID


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, type(None)),
        ({b"content-length": b"0"}, type(None)),
        ({b"content-length": b"000"}, type(None)),
        ({b"content-length": b"05"}, SizedBody),
        ({b"transfer-encoding": b"CHUNKED"}, ChunkedBody),
    ],
)
def test_the_fields_say_what_kind_of_body_there_is(
    fields: dict[bytes, bytes], kind: type[object]
) -> None:
    assert isinstance(body_framing(fields, is_1_1=True), kind)


@pytest.mark.parametrize(
    ("fields", "is_1_1"),
    [
        ({b"content-length": b"0", b"transfer-encoding": b"chunked"}, True),
        ({b"transfer-encoding": b"chunked"}, False),
        ({b"transfer-encoding": b"gzip, chunked"}, True),
        ({b"transfer-encoding": b""}, True),
        ({b"content-length": b""}, True),
        ({b"content-length": b"+1"}, True),
        ({b"content-length": b"1" * 16}, True),
    ],
)
def test_fields_with_two_readings_are_refused(fields: dict[bytes, bytes], is_1_1: bool) -> None:
    with pytest.raises(Denied) as refusal:
        body_framing(fields, is_1_1=is_1_1)
    assert refusal.value.reason is Reason.FRAMING_INVALID
