"""[audit] -> the journal of the process, the sinks of one generation, and the trail that its pipeline writes."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from gateway.app_shelf import Shelf
from gateway.audit.chain import KEY_BYTES, new_chain_key
from gateway.audit.journal import Journal
from gateway.audit.lines import Lines
from gateway.audit.recovery import NoLine, Resumed, lost_end, read_past, resume
from gateway.audit.sinks import MainSink, Nowhere, OtherSink, Turn
from gateway.audit.turn_lines import Later
from gateway.audit.upkeep import Intervals, Upkeep
from gateway.config.audit import Audit, FileSink, Sink, StdoutSink, SyslogSink
from gateway.config.gateway import Gateway
from gateway.edges import audit_file, audit_stdout
from gateway.edges.audit_others import FileWriter, StreamWriter
from gateway.edges.audit_queue import QueuedSink
from gateway.edges.audit_shelf import FileShelf
from gateway.edges.audit_state import INITIAL_KEY_FILE, ChainState, write_key
from gateway.edges.audit_syslog import Server, SyslogWriter, make_tls
from gateway.edges.audit_tail import cut_torn_end, newest_first
from gateway.model import AuditRecord
from gateway.stages.audit import AuditTrail
from gateway.stages.forward import may_change_state

_TIDY_SECONDS = 3600.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Book:
    """The one journal of the process, with what it was resumed from and what sees to it."""

    journal: Journal
    upkeep: Upkeep
    state: ChainState
    resumed: Resumed
    torn_bytes: int
    has_begun: bool = False

    async def run(self) -> None:
        """See to it for ever."""
        await self.upkeep.run()

    def close(self) -> None:
        """Nothing is written any more."""
        self.journal.stop()
        self.state.close()


@dataclass(frozen=True, slots=True)
class Recording:
    """What one generation's audit is made of."""

    book: Book
    trail: AuditTrail
    main: MainSink
    others: tuple[OtherSink, ...]
    syncs: bool
    intervals: Intervals = field(default_factory=Intervals)

    @property
    def journal(self) -> Journal:
        """Where all lines go."""
        return self.book.journal

    def begin(self, event: str, facts: Mapping[str, object]) -> None:
        """Put these sinks in force, for older generations' lines too: there is one order of all lines.

        `event` is the line that says so. The first generation also closes what a crash left open.
        """
        book, journal = self.book, self.journal
        book.upkeep.intervals = self.intervals
        problem = "" if book.has_begun else book.resumed.problem
        journal.use(self.main, self.others, syncs=self.syncs, problem=problem)
        if book.has_begun:
            journal.event(event, facts)
            return
        book.has_begun = True
        for begun in book.resumed.open:
            journal.event("lost-end", lost_end(begun))
        epoch, oldest = journal.chain.key.epoch, journal.oldest
        told = {**facts, "epoch": epoch, "oldest": oldest, "torn_bytes": book.torn_bytes}
        journal.event(event, told)

    def rotate(self) -> None:
        """Begin a new file: somebody asks for it, who may have renamed the old one."""
        self.journal.rotate()

    async def end(self) -> None:
        """The last lines: that it ends, and a head."""
        self.journal.event("stop", {})
        await self.book.upkeep.write_head()


def make_recording(
    config: Gateway,
    observers: Sequence[Callable[[AuditRecord], None]],
    late_writes: Later,
    shelf: Shelf,
) -> Recording:
    """Sinks with the same settings are kept over a reload. Raises OSError."""
    section = config.audit
    main = _choose_main(section)
    path = main.path if isinstance(main, FileSink) else None
    book = shelf.take(
        "book",
        lambda: _open_book(config.server.state_directory, path),
        run=Book.run,
        close=Book.close,
    )
    journal = book.journal
    journal.turn_lines.go_before(late_writes)
    main_sink = Nowhere() if main is None else _make_main(main, journal, shelf)
    others = [_make_other(sink, journal, shelf) for sink in section.sinks if sink is not main]
    trail = shelf.take(
        ("trail", section, config.server.cluster),
        lambda: AuditTrail(
            journal,
            Lines(config.server.cluster, frozenset(section.listed_query_values)),
            changes_state=may_change_state,
            durable_reads=section.durability == "durable",
            observers=observers,
        ),
    )
    intervals = Intervals(section.head_seconds, section.key_seconds, section.key_lines)
    syncs = section.durability != "off"
    return Recording(book, trail, main_sink, tuple(others), syncs, intervals)


def audit_paths(section: Audit) -> list[Path]:
    """Its files."""
    return [sink.path for sink in section.sinks if isinstance(sink, FileSink)]


def _choose_main(section: Audit) -> FileSink | StdoutSink | None:
    """The sink that every line is handed to at once: a required file rather than standard output.

    Without durability no sink is required, and the first file stands in, or nothing could be measured.
    """
    direct = [sink for sink in section.sinks if isinstance(sink, FileSink | StdoutSink)]
    eligible = [sink for sink in direct if sink.required or section.durability == "off"]
    files = [sink for sink in eligible if isinstance(sink, FileSink)]
    return next(iter(files or eligible), None)


def _open_book(directory: Path, path: Path | None) -> Book:
    """Go on with the chain where it ended, however that was. Raises OSError."""
    state = ChainState(directory)
    key = state.load()
    if key is None:
        key = new_chain_key(os.urandom(KEY_BYTES))
        write_key(directory / INITIAL_KEY_FILE, key, is_new=True)
        state.write(key)
    if state.is_initial_key_here:
        _log.warning(
            "%s is the key that proves the audit: carry it away, or whoever takes this machine"
            " can forge all of it (docs/audit.md)",
            directory / INITIAL_KEY_FILE,
        )
    torn = cut_torn_end(path) if path else b""
    try:
        past, foreign = (read_past(newest_first(path)) if path else None), ""
    except NoLine as error:
        past, foreign = None, f"it holds lines of no chain: {error}"
    resumed = resume(key, past, state.read_tip())
    if foreign or path is None:
        resumed = resumed._replace(problem=foreign)
    if resumed.problem and path:
        _log.error("audit: %s is put aside: %s", path, resumed.problem)
    journal = Journal(resumed.chain, state)
    return Book(journal, Upkeep(journal, state.save), state, resumed, len(torn))


def _make_main(sink: FileSink | StdoutSink, journal: Journal, shelf: Shelf) -> MainSink:
    match sink:
        case FileSink():
            return shelf.take(
                ("main", sink), lambda: _open_file(sink, journal, shelf), close=_close
            )
        case StdoutSink():
            return shelf.take(("main", sink), audit_stdout.StdoutSink, close=_close)
        case never:
            assert_never(never)


def _close(sink: MainSink | OtherSink) -> None:
    sink.close()


def _open_file(sink: FileSink, journal: Journal, shelf: Shelf) -> audit_file.FileSink:
    files = shelf.take(
        ("files", sink), lambda: _file_shelf(sink, journal), run=_tidy_hourly, close=FileShelf.close
    )
    return audit_file.FileSink(
        sink.path,
        sink.rotate_bytes,
        time.time,
        rotate_daily=sink.rotate_daily,
        rotated=files.put,
        patience_seconds=sink.patience_seconds,
    )


def _file_shelf(sink: FileSink, journal: Journal) -> FileShelf:
    tell = _Telling(journal)
    return FileShelf(
        sink.path,
        compress=sink.compress,
        keep_days=sink.keep_days,
        keep_bytes=sink.keep_bytes,
        tell=lambda removed: tell(Turn("removed", removed._asdict())),
    )


async def _tidy_hourly(files: FileShelf) -> None:
    """Also what an earlier process has left, and what has become too old."""
    while True:
        files.put()
        await asyncio.sleep(_TIDY_SECONDS)


def _make_other(sink: Sink, journal: Journal, shelf: Shelf) -> OtherSink:
    return shelf.take(("other", sink), lambda: _queued(sink, journal, shelf), close=_close)


def _queued(sink: Sink, journal: Journal, shelf: Shelf) -> QueuedSink:
    match sink:
        case FileSink():
            writer = FileWriter(_open_file(sink, journal, shelf), _Telling(journal))
            return QueuedSink(
                str(sink.path),
                writer,
                required=sink.required,
                patience_seconds=sink.patience_seconds,
            )
        case StdoutSink():
            return QueuedSink("stdout", StreamWriter(), required=sink.required)
        case SyslogSink():
            return QueuedSink(sink.address, make_syslog_writer(sink), required=sink.required)
        case never:
            assert_never(never)


def make_syslog_writer(sink: SyslogSink) -> SyslogWriter:
    """Connects when there is something to send. Raises OSError where its files cannot be used."""
    server = Server.read(sink.address)
    tls = (
        make_tls(sink.ca_file, sink.certificate_file, sink.key_file)
        if server.kind == "tls"
        else None
    )
    return SyslogWriter(server, facility=sink.facility, only_heads=sink.lines == "heads", tls=tls)


class _Telling:
    """Hands what happens in a sink's thread to the journal, which lives on the event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()

    def __call__(self, turn: Turn) -> None:
        self._loop.call_soon_threadsafe(self._journal.event, turn.event, turn.facts)
