"""What `search` finds, joins and puts in order, and what it says of lines that it cannot read."""

import gzip
import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit_log.files import look_into
from gateway.audit_log.moments import read_moment
from gateway.audit_log.query import Query
from gateway.audit_log.searching import Row, search_files
from tests.audit_writer import START, Writer, request

OTHER = "0badc0de0badc0de0badc0de0badc0de"


def found(folder: Path, query: Query, *, joined: bool = True) -> tuple[list[Row], list[str]]:
    told: list[str] = []
    files, _ = look_into(sorted(folder.glob("*.jsonl*")))
    rows = search_files(
        files, query, lambda place, what: told.append(f"{place}: {what}"), joined=joined
    )
    return list(rows), told


def ids(rows: list[Row]) -> list[str]:
    return [row["request_id"] for row in rows]


def both(writer: Writer, request_id: str, **changes: Any) -> None:
    end = request(request_id, **changes)
    writer.write("begin", **{name: end[name] for name in ("request_id", "user", "verdict")})
    writer.write("end", **end)


ODD = 'Zoë "\\ \u202e\x9b'
RECORDS = [
    request("plain"),
    request("bob", user="bob", subject="s-bob", client_id="ci"),
    request("job", job_ids=["4711"], method="DELETE", target="/slurm/v0.0.42/job/4711"),
    request("array", job_ids=["12", "4711_3"], operation="POST /slurm/*/job/submit", method="POST"),
    request("other-job", job_ids=["47110"]),
    request("refused", verdict="denied", code="operation-unlisted", status=403),
    request("near", client_address="198.51.100.7"),
    request("six", client_address="2001:db8::1"),
    request("hashed", token_hash="ab" * 16),
    request("odd", subject=ODD),
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(user="bob"), ["bob"]),
        (Query(subject="s-bob"), ["bob"]),
        (Query(subject=ODD), ["odd"]),
        (Query(client_id="ci"), ["bob"]),
        (Query(job="4711"), ["job", "array"]),
        (Query(job="4711_3"), ["array"]),
        (Query(operation="POST /slurm/*/job/submit"), ["array"]),
        (Query(operation="DELETE *"), ["job"]),
        (Query(operation="*/job/4711"), ["job"]),
        (Query(verdict="denied"), ["refused"]),
        (Query(code="operation-unlisted"), ["refused"]),
        (Query(request_id="near"), ["near"]),
        (Query(token_hash="ab" * 16), ["hashed"]),
        (Query(network=ipaddress.ip_network("198.51.100.0/24")), ["near"]),
        (Query(network=ipaddress.ip_network("2001:db8::/32")), ["six"]),
        (Query(user="alice", verdict="denied"), ["refused"]),
        (Query(user="bob", verdict="denied"), []),
    ],
)
def test_each_filter_finds_what_it_names(tmp_path: Path, query: Query, expected: list[str]) -> None:
    writer = Writer(key_every=3)
    for record in RECORDS:
        writer.write("denied" if record["verdict"] == "denied" else "end", **record)
    (tmp_path / "audit.jsonl").write_bytes(b"".join(writer.lines))
    rows, told = found(tmp_path, query)
    assert ids(rows) == expected
    assert told == []


def test_begin_and_end_are_one_row_and_a_lost_end_is_told(tmp_path: Path) -> None:
    writer = Writer()
    both(writer, "whole", user="alice", code="x")
    writer.write("begin", request_id="lost", user="alice", verdict="granted")
    writer.write("begin", request_id="running", user="alice", verdict="granted")
    writer.write("start")
    writer.write("lost-end", request_id="lost", note="the gateway ended before")
    (tmp_path / "audit.jsonl").write_bytes(b"".join(writer.lines))
    rows, _ = found(tmp_path, Query(user="alice"))
    assert [(row["request_id"], row["event"], row.get("begin_seq")) for row in rows] == [
        ("whole", "end", 1),
        ("lost", "lost-end", 3),
        ("running", "begin", None),
    ]
    assert rows[1]["user"] == "alice"
    raw, _ = found(tmp_path, Query(user="alice"), joined=False)
    assert [row["event"] for row in raw] == ["begin", "end", "begin", "begin"]


def test_rows_come_in_time_order_over_files_and_chains(tmp_path: Path) -> None:
    writer, other = Writer(), Writer(chain=OTHER, moment=START + timedelta(milliseconds=5))
    for number in range(6):
        writer.write("end", **request(f"a{number}"))
        other.write("end", **request(f"b{number}"))
    (tmp_path / "z.jsonl.gz").write_bytes(gzip.compress(b"".join(writer.lines[:3])))
    (tmp_path / "a.jsonl").write_bytes(b"".join(writer.lines[3:]))
    (tmp_path / "b.jsonl").write_bytes(b"".join(other.lines))
    rows, _ = found(tmp_path, Query())
    assert ids(rows) == [f"{chain}{number}" for number in range(6) for chain in "ab"]


def test_times_are_exact_and_files_outside_are_not_read(tmp_path: Path) -> None:
    early, late = Writer(), Writer(chain=OTHER, moment=START + timedelta(days=1))
    for number in range(10):
        early.write("end", **request(f"e{number}"))
        late.write("end", **request(f"l{number}"))
    (tmp_path / "early.jsonl").write_bytes(b"".join(early.lines))
    (tmp_path / "late.jsonl").write_bytes(b"".join(late.lines) + b"damaged\n")
    since, until = START + timedelta(milliseconds=30), START + timedelta(milliseconds=50)
    rows, told = found(tmp_path, Query(since=since, until=until))
    assert ids(rows) == ["e2", "e3"]
    assert told == []
    rows, told = found(tmp_path, Query(since=START + timedelta(hours=3)))
    assert ids(rows) == [f"l{number}" for number in range(10)]
    assert len(told) == 1


def test_what_cannot_be_read_is_told_with_its_place_whatever_is_looked_for(tmp_path: Path) -> None:
    writer = Writer()
    both(writer, "first")
    both(writer, "second")
    path = tmp_path / "audit.jsonl"
    torn = b'{"seq":5,"chain":"c0'
    path.write_bytes(b"".join([*writer.lines[:2], b"no json\n", b"[1]\n", *writer.lines[2:], torn]))
    for query in (Query(), Query(user="nobody")):
        _, told = found(tmp_path, query)
        assert told == [
            f"{path}:3: no line of an audit",
            f"{path}:4: no line of an audit",
            f"{path}:7: an unfinished line",
        ]


def test_a_damaged_compressed_file_is_told_behind_what_could_be_read(tmp_path: Path) -> None:
    writer = Writer()
    for number in range(500):
        writer.write("end", **request(f"r{number}"))
    whole = gzip.compress(b"".join(writer.lines), 0)
    (tmp_path / "audit.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    rows, told = found(tmp_path, Query())
    assert "cannot be read any further" in told[0]
    assert len(rows) > 200
    assert ids(rows) == [f"r{number}" for number in range(len(rows))]


def test_a_line_glued_to_an_unfinished_one_is_found(tmp_path: Path) -> None:
    writer = Writer()
    writer.write("end", **request("whole"))
    (tmp_path / "audit.jsonl").write_bytes(b'{"seq":1,"chain":"c0' + writer.lines[0])
    rows, told = found(tmp_path, Query(user="alice"))
    assert ids(rows) == ["whole"]
    assert len(told) == 1


def test_lines_of_a_gateway_without_chains_are_found_too(tmp_path: Path) -> None:
    line = (
        b'{"time":"2026-03-01T12:00:00Z","request_id":"old","user":"alice","verdict":"granted"}\n'
    )
    (tmp_path / "audit.jsonl").write_bytes(line)
    assert ids(found(tmp_path, Query(user="alice"))[0]) == ["old"]


NOW = datetime(2026, 3, 5, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2h", NOW - timedelta(hours=2)),
        ("30 m ago", NOW - timedelta(minutes=30)),
        ("1w", NOW - timedelta(days=7)),
        ("today", datetime(2026, 3, 5, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 3, 4, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00:00.5Z", datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01 12:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_written_as_people_do(text: str, expected: datetime) -> None:
    assert read_moment(text, NOW) == expected


@given(st.text(max_size=12))
def test_any_other_text_is_refused(text: str) -> None:
    with suppress(ValueError, OverflowError):
        assert isinstance(read_moment(text, NOW), datetime)
