"""AuditRecord -> its line before anything is forwarded, and its line at the end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EIO
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
        line = self._lines.begin(record)
        try:
            self.journal.begin(record.request_id, line)
        except OSError as error:
            raise _unwritten(record, error) from error
        durable = self._is_durable(record)
        if durable or self.journal.lags:
            await self._settle(durable=durable)

    async def close(self, record: AuditRecord) -> None:
        """Write the last line, whatever became of the request, and tell the observers. Never raises."""
        self._end(record)
        journal, durable = self.journal, self._is_durable(record)
        if durable or journal.lags:
            # the answer is delivered all the same; the journal admits nothing more until it is well
            with suppress(OSError):
                await journal.settle(durable=durable)
        if record.beside is not None:
            await record.beside.wait()
        self._tell(record)

    async def decide(self, record: AuditRecord) -> None:
        """Write the only line of what was granted and is sent by somebody else. Raises Denied where it is not safe."""
        journal, durable = self.journal, self._durable_reads
        if journal.problem or not journal.refusal(self._lines.end(record)):
            raise _unwritten(record, OSError(EIO, journal.problem or "it waits"))
        durable |= record.call is not None and self._changes_state(record.call)
        if durable or journal.lags:
            try:
                await journal.settle(durable=durable)
            except OSError as error:
                raise _unwritten(record, error) from error
        self._tell(record)

    # the same for a read, without waiting: whether `settle` has to be waited for

    async def settle(self) -> None:
        """Wait until they are as safe as they shall be. Raises Denied."""
        if self._durable_reads or self.journal.lags:
            await self._settle(durable=self._durable_reads)

    def begin(self, record: AuditRecord, unwritten: Callable[[Denied], None]) -> bool:
        """The first line, written before anything else of this turn of the event loop is sent.

        Raises Denied where it is known at once that it cannot be; otherwise `unwritten` is called.
        """
        line = self._lines.begin(record)
        try:
            lags = self.journal.begin_soon(
                record.request_id, line, lambda error: unwritten(_unwritten(record, error))
            )
        except OSError as error:
            raise _unwritten(record, error) from error
        return lags or self._durable_reads

    def end(self, record: AuditRecord) -> bool:
        """The last line of a read that went straight, in the same way; the observers are told."""
        lags = self.journal.end_soon(record.request_id, self._lines.end_of_repeat(record))
        for observe in self._observers:
            observe(record)
        return lags or self._durable_reads

    def flush(self) -> None:
        """Have written what `begin` and `end` were given."""
        self.journal.flush()

    async def _settle(self, *, durable: bool) -> None:
        try:
            await self.journal.settle(durable=durable)
        except OSError as error:
            raise _unavailable(error) from error

    def _end(self, record: AuditRecord) -> None:
        line = self._lines.end(record)
        if record.opened:
            self.journal.end(record.request_id, line)
        else:
            self.journal.refusal(line)

    def _tell(self, record: AuditRecord) -> None:
        for observe in self._observers:
            observe(record)

    def _is_durable(self, record: AuditRecord) -> bool:
        """Whether its lines wait for the disk. A refusal without an operation changes nothing."""
        if self._durable_reads:
            return True
        return bool(record.opened) and record.call is not None and self._changes_state(record.call)


def _unwritten(record: AuditRecord, error: OSError) -> Denied:
    """Nothing was written of it, and nothing is sent."""
    record.opened, record.granted = "", False
    return _unavailable(error)


def _unavailable(error: OSError) -> Denied:
    note = error.strerror or type(error).__name__
    return Denied(Reason.AUDIT_UNAVAILABLE, note, headers=_RETRY)
