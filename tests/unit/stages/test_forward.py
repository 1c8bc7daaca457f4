"""Heads to slurmrestd are exactly ours; heads from it are read in one way or not at all."""

import re
from dataclasses import replace
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import AuthorizedCall, Risk, Secret, UpstreamCredential
from gateway.stages.forward import (
    AnswerHead,
    HeadInvalid,
    Patience,
    RequestHead,
    could_be_head,
    may_change_state,
    read_head,
)
from tests.fakes import make_call

HEAD = RequestHead("127.0.0.1:6820")
ALICE = UpstreamCredential("alice", Secret("canary.slurm.token"))
SUBMIT = make_call("/slurm/{version}/job/submit", Risk.SUBMIT, "POST", changes_state=True)
CANCEL = make_call("/slurm/{version}/job/{job_id}", Risk.JOB_WRITE, "DELETE", changes_state=True)

COMMON = (
    b"Host: 127.0.0.1:6820\r\nVia: 1.1 slurm-gateway\r\n"
    b"X-SLURM-USER-NAME: alice\r\nX-SLURM-USER-TOKEN: canary.slurm.token\r\n"
    b"Accept: application/json\r\n"
)


@pytest.mark.parametrize(
    ("call", "media_type", "length", "expected"),
    [
        (make_call(), "", None, b"GET /slurm/v0.0.38/jobs HTTP/1.1\r\n" + COMMON + b"\r\n"),
        (
            SUBMIT,
            "application/json",
            17,
            b"POST /slurm/v0.0.38/job/submit HTTP/1.1\r\n"
            + COMMON
            + b"Content-Type: application/json\r\nContent-Length: 17\r\n\r\n",
        ),
        (
            SUBMIT,
            "",
            None,
            b"POST /slurm/v0.0.38/job/submit HTTP/1.1\r\n" + COMMON + b"Content-Length: 0\r\n\r\n",
        ),
        (CANCEL, "", None, b"DELETE /slurm/v0.0.38/job/1 HTTP/1.1\r\n" + COMMON + b"\r\n"),
    ],
    ids=["read", "body", "POST without a body", "DELETE without a body"],
)
def test_a_head_holds_our_own_fields_and_nothing_else(
    call: AuthorizedCall, media_type: str, length: int | None, expected: bytes
) -> None:
    assert HEAD(call, ALICE, "application/json", media_type, length) == expected


BREAKS = ["a\r\nX-SLURM-USER-NAME: root", "a\nb", "a\rb", "a\x00b", "", " a", "a ", "ä", "a\x7f"]


@pytest.mark.parametrize("value", BREAKS)
@pytest.mark.parametrize("place", ["user", "token", "accept", "media_type", "host", "target"])
def test_a_value_that_could_break_the_head_is_never_sent(place: str, value: str) -> None:
    call, credential = SUBMIT, ALICE
    given_values: dict[str, Any] = {"accept": "application/json", "media_type": "application/json"}
    if place in given_values:
        given_values[place] = value or "\n"
    if place == "user":
        credential = replace(ALICE, user=value)
    if place == "token":
        credential = replace(ALICE, token=Secret(value))
    if place == "target":
        call = SUBMIT._replace(target=b"/slurm" + value.encode() if value else b"")
    with pytest.raises(ValueError, match="would break"):
        RequestHead(value if place == "host" else "localhost")(
            call, credential, length=1, **given_values
        )


def test_a_wrong_target_is_refused_even_if_it_came_from_authorize() -> None:
    for target in (b"", b"/a b", b"/a\r\nb", b"/\xff", b"/a\x00", b"/a HTTP/1.1\r\nX: y"):
        with pytest.raises(ValueError, match="would break"):
            HEAD(make_call()._replace(target=target), ALICE, "application/json")


@pytest.mark.parametrize(
    ("risk", "changes", "seconds", "may_change"),
    [
        (Risk.READ, False, 20, False),
        (Risk.READ, True, 60, True),  # GET reconfigure changes state
        (Risk.READ_HEAVY, False, 300, False),
        (Risk.READ_ACCOUNTING, False, 300, False),
        (Risk.READ_BULK, False, 300, False),
        (Risk.READ_SENSITIVE, False, 300, False),
        (Risk.SUBMIT, True, 60, True),
        (Risk.JOB_WRITE, True, 60, True),
        (Risk.JOB_WRITE_BULK, True, 300, True),
        (Risk.ADMIN, True, 60, True),
        (Risk.ADMIN, False, 60, True),
        (Risk.UTIL, False, 60, True),
    ],
)
def test_patience_and_the_right_to_try_again_follow_the_class(
    risk: Risk, changes: bool, seconds: float, may_change: bool
) -> None:
    call = make_call(risk=risk, changes_state=changes)
    assert Patience(20, 60, 300).seconds_for(call) == seconds
    assert may_change_state(call) is may_change


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"


@pytest.mark.parametrize(
    ("head", "status", "length", "keep_alive"),
    [
        (OK + LENGTH + b"\r\n", 200, 2, True),
        (b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n", 200, 2, True),
        (OK + b"CONTENT-LENGTH:2\r\n\r\n", 200, 2, True),
        (OK + b"content-length: \t 2 \t\r\n\r\n", 200, 2, True),
        (OK + LENGTH + b"Connection: Close\r\n\r\n", 200, 2, False),
        (OK + LENGTH + b"Connection: x\r\nConnection: y, CLOSE\r\n\r\n", 200, 2, False),
        (OK + LENGTH + b"Connection: keep-alive\r\n\r\n", 200, 2, True),
        (b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n", 200, 2, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + LENGTH + b"\r\n", 200, 2, False),
        (b"HTTP/1.1 304 NOT MODIFIED\r\n\r\n", 304, 0, True),
        (b"HTTP/1.1 304 NOT MODIFIED\r\nContent-Length: 99\r\n\r\n", 304, 0, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, 0, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 100, 0, True),
        (b"HTTP/1.1 511 Network Authentication Required\r\n" + LENGTH + b"\r\n", 511, 2, True),
    ],
)
def test_a_head_is_read(head: bytes, status: int, length: int, keep_alive: bool) -> None:
    found = read_head(head)
    assert (found.status, found.length, found.keep_alive) == (status, length, keep_alive)
    assert found.is_final is (status >= 200)


@pytest.mark.parametrize(
    "head",
    [
        OK + b"\r\n",
        OK + LENGTH + LENGTH + b"\r\n",
        OK + b"Content-Length: 2, 2\r\n\r\n",
        b"HTTP/1.1 204 X\r\n" + LENGTH + LENGTH + b"\r\n",
        b"HTTP/1.1 304 X\r\nContent-Length: a\r\n\r\n",
        b"HTTP/1.1 100 X\r\nContent-Length: a\r\n\r\n",
        OK + b"Content-Length: +2\r\n\r\n",
        OK + b"Content-Length: -2\r\n\r\n",
        OK + b"Content-Length: 0x2\r\n\r\n",
        OK + b"Content-Length: 2a\r\n\r\n",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 16 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + LENGTH + b"transfer-ENCODING: identity\r\n\r\n",
        OK + LENGTH + b" folded\r\n\r\n",
        OK + b"Content-Length : 2\r\n\r\n",
        OK + b": 2\r\n" + LENGTH + b"\r\n",
        OK + b"no colon\r\n" + LENGTH + b"\r\n",
        OK + LENGTH + b"X: a\x00b\r\n\r\n",
        OK + LENGTH + b"X: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/0.9 400 BAD REQUEST\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 20 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 2000 OK\r\n" + LENGTH + b"\r\n",
        b"http/1.1 200 OK\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1  200 OK\r\n" + LENGTH + b"\r\n",
        b"\r\n" + OK + LENGTH + b"\r\n",
        OK + b"X: y\r\n" * 64 + LENGTH + b"\r\n",
        OK + LENGTH + b"X: " + b"y" * 65536 + b"\r\n\r\n",
        # measured on 22.05: two status lines and no empty line
        b"HTTP/1.1 411 LENGTH REQUIRED\r\nConnection: Close\r\nHTTP/1.1 400 BAD REQUEST\r\n\r\n",
        b"",
    ],
)
def test_a_head_with_two_readings_is_none(head: bytes) -> None:
    with pytest.raises(HeadInvalid):
        read_head(head)


def test_only_the_media_type_passes_and_the_rest_is_ours() -> None:
    head = read_head(
        OK
        + LENGTH
        + b"Content-Type: application/json\r\nServer: slurmrestd\r\nSet-Cookie: a=b\r\n"
        + b"Connection: X-Secret\r\nX-Secret: 1\r\nLocation: http://evil\r\nVia: 1.0 x\r\n"
        + b"Trailer: X\r\nKeep-Alive: timeout=5\r\nContent-Encoding: gzip\r\n\r\n"
    )
    assert head.headers == (
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"via", b"1.1 slurm-gateway"),
        (b"cache-control", b"private, no-store"),
        (b"x-content-type-options", b"nosniff"),
    )


def test_a_media_type_that_is_no_text_is_left_out() -> None:
    assert b"content-type" not in dict(
        read_head(OK + LENGTH + b"Content-Type: a\xffb\r\n\r\n").headers
    )


def test_an_answer_without_a_body_states_no_length() -> None:
    assert b"content-length" not in dict(read_head(b"HTTP/1.1 304 NO\r\n\r\n").headers)


@pytest.mark.parametrize("begin", [b"", b"H", b"HTTP/1.", b"HTTP/1.1 200"])
def test_a_beginning_is_waited_for(begin: bytes) -> None:
    assert could_be_head(begin)


@pytest.mark.parametrize("begin", [b"X", b"HTTP/0", b"\r\n", b"HTTP/2.0 200", b"http/1.1"])
def test_what_cannot_become_a_head_is_known_by_its_first_bytes(begin: bytes) -> None:
    assert not could_be_head(begin)


class _Reader:
    """What httptools makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(head)

    def on_headers_complete(self) -> None:
        self.keeps_alive: bool = self.parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))


NAMES = st.sampled_from(
    [b"Content-Length", b"Connection", b"Content-Type", b"X-A", b"Transfer-Encoding", b"X A", b""]
)
VALUES = st.sampled_from(
    [
        b"0",
        b"2",
        b"17",
        b"close",
        b"Keep-Alive",
        b"chunked",
        b"a, close",
        b"",
        b"a\rb",
        b"\x00",
        b"5abc",
    ]
)
LINES = st.builds(
    lambda name, sign, value, end: name + sign + value + end,
    NAMES,
    st.sampled_from([b": ", b":", b" : ", b":\t", b""]),
    VALUES,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n "]),
)
STATUS_LINES = st.builds(
    lambda version, status, reason: version + b" " + status + reason + b"\r\n",
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0"]),
    st.sampled_from([b"200", b"204", b"304", b"404", b"500", b"100", b"101", b"99", b"600"]),
    st.sampled_from([b" OK", b"", b" ", b" \xc3\xa4"]),
)


@given(STATUS_LINES, st.lists(LINES, max_size=5))
def test_what_is_accepted_is_what_another_strict_reader_reads(
    line: bytes, lines: list[bytes]
) -> None:
    data = line + b"".join(lines) + b"\r\n"
    head = _read_or_none(data)
    if head is None or not head.is_final:
        return
    other = _Reader(data)
    assert other.parser.get_status_code() == head.status
    lengths = [value for name, value in other.fields if name == b"content-length"]
    if head.status not in (204, 304):
        assert [int(value) for value in lengths] == [head.length]
    if head.keep_alive and head.status not in (204, 304):
        assert other.keeps_alive


@given(
    st.one_of(
        st.binary(max_size=200), st.binary(max_size=80).map(lambda tail: OK + tail + b"\r\n\r\n")
    )
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    head = _read_or_none(data)
    for name, value in head.headers if head else ():
        assert re.fullmatch(rb"[a-z-]+", name)
        assert re.fullmatch(rb"[\x20-\x7e]*", value)


def _read_or_none(data: bytes) -> AnswerHead | None:
    try:
        return read_head(data)
    except HeadInvalid:
        return None
