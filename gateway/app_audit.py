"""[audit] -> the journal of the process, the sinks of one generation, and the trail that its pipeline writes."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from gateway.app_shelf import Shelf
from gateway.audit.chain import KEY_BYTES, Chain, new_chain_key
from gateway.audit.journal import Journal
from gateway.audit.lines import Lines
from gateway.audit.sinks import Forgetful, MainSink, Nowhere, OtherSink, Turn
from gateway.config.audit import Audit, FileSink, Sink, StdoutSink
from gateway.config.gateway import Gateway
from gateway.edges import audit_file, audit_stdout
from gateway.edges.audit_others import FileWriter, StreamWriter
from gateway.edges.audit_queue import QueuedSink
from gateway.model import AuditRecord
from gateway.stages.audit import AuditTrail
from gateway.stages.forward import may_change_state


@dataclass(frozen=True, slots=True)
class Recording:
    """What one generation's audit is made of."""

    journal: Journal
    trail: AuditTrail
    main: MainSink
    others: tuple[OtherSink, ...]
    syncs: bool

    def begin(self) -> None:
        """Put these sinks in force, for older generations' lines too: there is one order of all lines."""
        self.journal.use(self.main, self.others, syncs=self.syncs)


def make_recording(
    config: Gateway, observers: Sequence[Callable[[AuditRecord], None]], shelf: Shelf
) -> Recording:
    """Sinks with the same settings are kept over a reload. Raises OSError."""
    section = config.audit
    main = _choose_main(section)
    journal = shelf.take("journal", _make_journal)
    main_sink = Nowhere() if main is None else _make_main(main, shelf)
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
    return Recording(journal, trail, main_sink, tuple(others), section.durability != "off")


def _choose_main(section: Audit) -> Sink | None:
    """The sink that every line is handed to at once: a required file rather than standard output.

    Without durability no sink is required, and the first file stands in, or nothing could be measured.
    """
    direct = [sink for sink in section.sinks if isinstance(sink, FileSink | StdoutSink)]
    eligible = [sink for sink in direct if sink.required or section.durability == "off"]
    files = [sink for sink in eligible if isinstance(sink, FileSink)]
    return next(iter(files or eligible), None)


def _make_journal() -> Journal:
    return Journal(Chain(new_chain_key(os.urandom(KEY_BYTES))), Forgetful())


def _make_main(sink: FileSink | StdoutSink, shelf: Shelf) -> MainSink:
    match sink:
        case FileSink():
            return shelf.take(("main", sink), lambda: _open_file(sink), close=_close)
        case StdoutSink():
            return shelf.take(("main", sink), audit_stdout.StdoutSink, close=_close)
        case never:
            assert_never(never)


def _close(sink: MainSink | OtherSink) -> None:
    sink.close()


def _open_file(sink: FileSink) -> audit_file.FileSink:
    return audit_file.FileSink(sink.path, sink.rotate_bytes, time.time)


def _make_other(sink: Sink, journal: Journal, shelf: Shelf) -> OtherSink:
    return shelf.take(("other", sink), lambda: _queued(sink, journal), close=_close)


def _queued(sink: Sink, journal: Journal) -> QueuedSink:
    match sink:
        case FileSink():
            writer = FileWriter(_open_file(sink), _Telling(journal))
            return QueuedSink(str(sink.path), writer, required=sink.required)
        case StdoutSink():
            return QueuedSink("stdout", StreamWriter(), required=sink.required)
        case never:
            assert_never(never)


class _Telling:
    """Hands what happens in a sink's thread to the journal, which lives on the event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()

    def __call__(self, turn: Turn) -> None:
        self._loop.call_soon_threadsafe(self._journal.event, turn.event, turn.facts)
