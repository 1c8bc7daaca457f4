"""Any bytes of slurmrestd or of an audit file -> their readers, and what has to hold of whatever they take."""

import asyncio
import json
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httptools
import orjson

from gateway.audit.recovery import NoLine, read_past
from gateway.audit_log.heads import Head
from gateway.audit_log.lines import (
    MAC_MARK,
    claim_of,
    claimed_epoch,
    claimed_seq,
    looks_unfinished,
    read_line,
    split_glued,
    time_of,
)
from gateway.audit_log.query import Query
from gateway.audit_log.searching import Search
from gateway.audit_log.tally import Tally
from gateway.audit_log.verify import verify
from gateway.edges.late_writes import LateWrites
from gateway.edges.upstream_answer import Answer, Room, UpstreamFailed
from gateway.edges.upstream_connection import UpstreamConnection
from gateway.slurm_api.job_list import JobList, ListRefused
from gateway.slurm_api.job_owner import owner_of
from gateway.slurm_api.list_index import ListIndex
from gateway.slurm_api.list_index import ListUnreadable as IndexRefused
from gateway.slurm_api.marked_job import ListUnreadable, Sought, find_job
from gateway.slurm_api.selection import LISTINGS
from gateway.stages.forward import AnswerHead, HeadInvalid, could_be_head, read_head
from gateway.stages.forward_result import (
    is_unspecified_error,
    job_ids,
    may_be_refusal,
    slurm_errors,
)
from tests.audit_writer import CHAIN, KEY, Writer, request
from tests.fuzz.asked import runner

_BUFFER_BYTES = 1 << 20
_SOUGHT = Sought("idempotency:abc", "comment", "alice", 1001, frozenset({"mine"}), 1_800_000_000.0)


# audit line


def audit_line(data: bytes) -> None:
    """Bytes as a line on their own, and bytes put over a genuine chain: whatever they change is found."""
    _read_single(data)
    _put_over(data)


def _read_single(data: bytes) -> None:
    found = read_line(data)
    if found is not None:
        assert data == b'%b%b%b"}\n' % (found.body, MAC_MARK, found.mac.hex().encode())
        assert (found.chain, found.seq) == claim_of(data)
        assert claimed_seq(data) == found.seq
        assert data.count(b'{"seq":') == 1, "two lines that stand in one"
    glued = split_glued(data)
    assert glued is None or glued[0] + glued[1].text == data
    looks_unfinished(data)
    claimed_epoch(data)
    time_of(data)
    with suppress(NoLine):
        read_past([data])
    told: list[str] = []
    tally = Tally(lambda row: "READ")
    search = Search(Query(), lambda place, text: told.append(text))
    tally.add_all([*search.rows([data], "file"), *search.unfinished()])
    tally.histogram(10)


@cache
def _genuine() -> bytes:
    writer = Writer(key_every=4, head_every=3)
    for number in range(6):
        writer.write(**request(f"r{number}"))
    return b"".join(writer.lines)


def _put_over(data: bytes) -> None:
    genuine = _genuine()
    if len(data) < 3:
        return
    place = int.from_bytes(data[:2], "big") % len(genuine)
    changed = genuine[:place] + data[2:] + genuine[place + len(data) - 2 :]
    last = genuine.splitlines(keepends=True)[-1]
    line = read_line(last)
    assert line is not None
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        path = Path(folder) / "audit.jsonl"
        path.write_bytes(changed)
        verdict = verify([path], {CHAIN: KEY}, [Head("", line.seq, line.mac)], from_start=True)
    is_same = [one for one in changed.splitlines() if one.strip(b"\0")] == genuine.splitlines()
    assert verdict.is_sound <= (is_same or bool(verdict.remarks))
    assert verdict.is_sound or changed != genuine


# one answer on a connection


class Wire(asyncio.Transport):
    """A transport that takes everything."""

    def __init__(self, bare: socket.socket) -> None:
        super().__init__()
        self._bare = bare

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._bare if name == "socket" else default

    def write(self, data: Any) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return False


class Pool:
    """Notes whether the connection may be used again."""

    def __init__(self) -> None:
        self.reusable: bool | None = None

    def finished(self, connection: UpstreamConnection, status: int, *, reusable: bool) -> None:
        self.reusable = reusable

    def lost(self, connection: UpstreamConnection, *, by_us: bool) -> None: ...


def answer(data: bytes) -> None:
    """(place of a cut, what slurmrestd sends): one reading, within the stated length, held to httptools."""
    raw = data[1:]
    place = (data[:1] or b"\0")[0] * len(raw) // 255
    whole, is_kept = runner().run(_receive([raw]))
    cut, is_kept_cut = runner().run(_receive([raw[:place], raw[place:]]))
    assert whole == cut
    if is_kept:
        assert is_kept_cut
    if whole is not None and is_kept:
        _, body, used = whole
        assert used + len(body) == len(raw), "bytes behind an answer on a connection that is kept"
    with suppress(HeadInvalid):
        end = raw.find(b"\r\n\r\n") + 4
        _hold_against_httptools(raw[:end], read_head(raw[:end]))


async def _receive(pieces: list[bytes]) -> tuple[tuple[AnswerHead, bytes, int] | None, bool]:
    """((head, body, bytes before the body) or None, may the connection be used again?)."""
    pool = Pool()
    connection = UpstreamConnection(
        pool,
        read_head,
        ("alice", "t"),
        0,
        Room(_BUFFER_BYTES, _BUFFER_BYTES),
        late_writes=LateWrites(),
    )
    with socket.socket(socket.AF_UNIX) as bare:
        connection.connection_made(Wire(bare))
    asked = asyncio.ensure_future(connection.exchange(b"GET", None, 5.0))
    await asyncio.sleep(0)
    for piece in pieces:
        if piece:
            connection.data_received(piece)
            await asyncio.sleep(0)
    connection.connection_lost(None)
    try:
        found = await asked
        body = await _body_of(found)
    except UpstreamFailed:
        return None, pool.reusable is True
    raw = b"".join(pieces)
    assert len(body) == found.head.length
    before = _heads_end(raw)
    assert raw[before : before + len(body)] == body
    return (found.head, body, before), pool.reusable is True


async def _body_of(found: Answer) -> bytes:
    """Also of an answer that says it is longer than there is room for. Raises UpstreamFailed."""
    if await found.read_all(_BUFFER_BYTES):
        return found.whole or b""
    pieces = []
    while piece := await found.read():
        pieces.append(piece)
    return b"".join(pieces)


def _heads_end(raw: bytes) -> int:
    """Behind the first head that is no interim one."""
    end = 0
    while True:
        following = raw.index(b"\r\n\r\n", end) + 4
        if read_head(raw[end:following]).is_final:
            return following
        end = following


class Reader:
    """What httptools makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(head)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))


def _hold_against_httptools(raw: bytes, head: AnswerHead) -> None:
    assert could_be_head(raw[:7])
    if not head.is_final:
        return
    other = Reader(raw)
    assert other.parser.get_status_code() == head.status
    lengths = [int(value) for name, value in other.fields if name == b"content-length"]
    assert head.status in (204, 304) or lengths == [head.length]


# the JSON in an answer


def answer_body(data: bytes) -> None:
    """(size of the pieces, a body): no reader fails otherwise than it says, and no other's job stays."""
    raw = data[1:]
    assert all(isinstance(found, str) for found in slurm_errors(raw) + job_ids(raw))
    assert may_be_refusal(500, raw) >= is_unspecified_error(500, raw)
    owner_of(raw)
    _assert_told_apart(raw, 1 + (data[:1] or b"\0")[0])
    with suppress(ListUnreadable):
        assert find_job(raw, _SOUGHT).job_id >= 0
    whole = _filtered(raw, max(1, len(raw)))
    assert whole == _filtered(raw, 1 + (data[:1] or b"\0")[0])
    if whole is not None:
        with suppress(orjson.JSONDecodeError):
            _assert_own(orjson.loads(raw), whole)


def _assert_told_apart(raw: bytes, size: int) -> None:
    """What the index takes is one object with one list of objects, and it knows where each of them is."""
    try:
        index = ListIndex(raw, LISTINGS["GET /slurm/*/jobs"])
        while not index.is_whole:
            index.step(size)
    except IndexRefused:
        return
    answer = json.loads(raw.decode("latin-1"))
    assert isinstance(answer, dict)
    items = [json.loads(raw[begin:end].decode("latin-1")) for begin, end, _ in index.items]
    assert items == answer["jobs"]
    assert raw[index.begin - 1 : index.begin] + raw[index.end : index.end + 1] == b"[]"


def _is_alices(job: bytes) -> bool:
    return owner_of(job).is_user("alice", None)


def _filtered(raw: bytes, size: int) -> bytes | None:
    jobs = JobList(_is_alices, most_bytes=_BUFFER_BYTES, most_job_bytes=_BUFFER_BYTES)
    try:
        for begin in range(0, len(raw), size):
            jobs.feed(raw[begin : begin + size])
        return jobs.finish()
    except ListRefused:
        return None


def _assert_own(sent: Any, whole: bytes) -> None:
    """Of an answer that is JSON: it still is, only jobs went, and those that stay are alice's."""
    left = json.loads(whole)
    assert left.keys() == sent.keys()
    jobs = left.get("jobs")
    if isinstance(jobs, list):
        assert all(_is_alices(json.dumps(job).encode()) for job in jobs)
