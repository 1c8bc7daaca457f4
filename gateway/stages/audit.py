"""AuditRecord -> its line before anything is forwarded, and its line at the end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.audit.journal import Journal
from gateway.audit.lines import Lines
from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, AuthorizedCall

_RETRY: Final = (("Retry-After", "1"),)


class AuditTrail:
    """What is granted is written first, and only then sent; where that fails, nothing passes.

    `durable_reads`: reads wait for the disk as writes always do, and not only for the kernel.
    """

    def __init__(
        self,
        journal: Journal,
        lines: Lines,
        *,
        changes_state: Callable[[AuthorizedCall], bool],
        durable_reads: bool = False,
        observers: Sequence[Callable[[AuditRecord], None]] = (),
    ) -> None:
        self.journal = journal
        self._lines = lines
        self._changes_state = changes_state
        self._durable_reads = durable_reads
        self._observers = tuple(observers)

    async def open(self, record: AuditRecord) -> None:
        """Write the first line. Raises Denied where it is not as safe as its class asks for."""
        journal = self.journal
        try:
            self._begin(record)
            if self._is_durable(record):
                await journal.settle(durable=True)
            elif journal.lags:
                await journal.settle(durable=False)
        except OSError as error:
            note = error.strerror or type(error).__name__
            raise Denied(Reason.AUDIT_UNAVAILABLE, note, headers=_RETRY) from error

    def _begin(self, record: AuditRecord) -> None:
        try:
            self.journal.begin(record.request_id, self._lines.begin(record))
        except OSError:
            record.opened = ""
            raise

    async def close(self, record: AuditRecord) -> None:
        """Write the last line, whatever became of the request, and tell the observers. Never raises."""
        journal = self.journal
        line = self._lines.end(record)
        if record.opened:
            journal.end(record.request_id, line)
        else:
            journal.refusal(line)
        durable = self._is_durable(record)
        if durable or journal.lags:
            # the answer is delivered all the same; the journal admits nothing more until it is well
            with suppress(OSError):
                await journal.settle(durable=durable)
        if record.beside is not None:
            await record.beside.wait()
        for observe in self._observers:
            observe(record)

    def _is_durable(self, record: AuditRecord) -> bool:
        """Whether its lines wait for the disk. A refusal without an operation changes nothing."""
        if self._durable_reads:
            return True
        return bool(record.opened) and record.call is not None and self._changes_state(record.call)
