"""What the gateway's own writer makes is sound for whoever reads it, and what is done to it is found."""

from pathlib import Path

import pytest

from gateway.audit.chain import Chain, new_chain_key
from gateway.audit.lines import Lines, event_body
from gateway.audit_log.files import look_into
from gateway.audit_log.findings import Kind
from gateway.audit_log.heads import Head
from gateway.audit_log.query import Query
from gateway.audit_log.searching import search_files
from gateway.audit_log.verify import verify
from gateway.model import AuditRecord

KEY = new_chain_key(b"k" * 32)


@pytest.fixture
def lines() -> list[bytes]:
    """Twenty requests over three keys, the text of each made by the renderer of requests."""
    chain, rendered, made = Chain(KEY), Lines("example", frozenset()), []

    def write(body: str) -> None:
        (line,), macs = chain.seal([body])
        chain.advance(macs)
        made.append(line)

    write(event_body("start", "2026-03-01T12:00:00.000000Z", {"version": "1"}))
    for number in range(20):
        record = AuditRecord(f"r{number}", 1772366400.0 + number, method="GET", raw_target="/x")
        record.granted = True
        write(rendered.begin(record))
        record.status, record.complete = 200, True
        write(rendered.end(record))
        if number % 7 == 6:
            following = chain.key.following()
            facts = {"epoch": following.epoch}
            write(event_body("key", "2026-03-01T12:00:00.000000Z", facts))
            chain.use(following)
    return made


def test_the_writers_lines_are_sound_up_to_their_last_head(
    tmp_path: Path, lines: list[bytes]
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    head = Head(KEY.chain, len(lines), bytes.fromhex(lines[-1][-35:-3].decode()))
    verdict = verify([path], {KEY.chain: KEY.key}, [head], from_start=True)
    assert verdict.is_sound
    assert verdict.chains[0].last_head == len(lines)


@pytest.mark.parametrize("at", range(0, 42, 6))
def test_a_line_of_the_writer_that_was_changed_or_taken_out_is_found(
    tmp_path: Path, lines: list[bytes], at: int
) -> None:
    path = tmp_path / "audit.jsonl"
    changed = lines[at].replace(b'"time":"2026', b'"time":"2025')
    path.write_bytes(b"".join([*lines[:at], changed, *lines[at + 1 :]]))
    (finding,) = verify([path], {KEY.chain: KEY.key}, from_start=True).all_findings
    assert finding.first_seq == at + 1
    path.write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))
    (finding,) = verify([path], {KEY.chain: KEY.key}, from_start=True).all_findings
    assert (finding.kind, finding.first_seq) == (Kind.MISSING, at + 1)


def test_the_writers_two_lines_of_a_request_are_one_row(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    files, _ = look_into([path])
    rows = list(search_files(files, Query(request_id="r3"), lambda *_: None))
    assert [(row["status"], row["begin_seq"]) for row in rows] == [(200, 8)]
