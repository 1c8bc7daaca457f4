"""Lines -> numbered, chained and handed to the sinks in one order; nothing passes while that fails."""

import asyncio
import errno
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final

from gateway.audit.chain import Chain, ChainKey
from gateway.audit.failures import again, as_error, text_of
from gateway.audit.lines import Moments, event_body
from gateway.audit.sinks import Forgetful, Keeper, MainSink, Nowhere, OtherSink, Turn
from gateway.audit.turn_lines import TurnLine, TurnLines

LONGEST_LINE: Final = 8192
"""Room that is set apart for the end of each request that has begun; few ends are a tenth of it."""
_LOOK_SECONDS: Final = 0.1
_SYNC_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 0.2
_ROOM_TO_RECOVER: Final = 1 << 20
"""So that a disk with a little room does not make the audit fail and recover in turns."""
_MOST_REFUSALS: Final = 2000
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_log = logging.getLogger(__name__)


class Journal:
    """The one order of all lines of a process, whichever generation of the configuration made them.

    `syncs` is whether lines are brought to disk at all. Lines that may wait for the end of a turn of
    the event loop are written by one call then, before anything of that turn is sent; any other line,
    and every look at where the chain has come to, has them written first.
    """

    def __init__(
        self,
        chain: Chain,
        keeper: Keeper,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self.turn_lines = lines = TurnLines(self._write_turn, self._write_alone)
        self.flush = lines.flush
        self._keeper = keeper
        self._moment = Moments().text
        self._now = now
        self._main: MainSink = Nowhere()
        self._others: tuple[OtherSink, ...] = ()
        self._required: tuple[OtherSink, ...] = ()
        self._is_prompt = True  # no line ever has to be waited for
        self._begun: dict[str, int] = {}
        self._untold: deque[Turn] = deque()
        self._ends: deque[str] = deque()
        self._refusals: deque[str] = deque()
        self._broken: OSError | None = None
        self._broken_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_at = 0.0
        self._is_dirty = False
        self.syncs = True
        self.written = 0
        self.failures = 0
        self.dropped = 0

    def use(
        self,
        main: MainSink,
        others: Sequence[OtherSink],
        *,
        syncs: bool = True,
        problem: str = "",
    ) -> None:
        """Write to these sinks from the next line on. The ones before are not closed here.

        `problem`: why the main sink must not go on with what it holds.
        """
        self.flush()
        is_new, self._main = main is not self._main, main
        self._others, self.syncs = tuple(others), syncs
        self._required = tuple(sink for sink in others if sink.required)
        self._is_prompt = not (self._required or main.may_lag)
        if is_new:
            try:
                self._tell(main.begin(problem))
            except OSError as error:
                self._fail(error)

    def stop(self) -> None:
        """Nothing is written any more, and nothing repaired, by this process."""
        self.flush()
        self._main, self._others, self._required = Nowhere(), (), ()
        self._keeper, self.syncs = Forgetful(), False

    # what others see

    @property
    def chain(self) -> Chain:
        """With all that was said so far."""
        self.flush()
        return self._chain

    @property
    def problem(self) -> str:
        """Why nothing can be recorded now; empty where it can."""
        if self._broken is not None:
            return text_of(self._broken)
        return next((sink.problem for sink in self._required if sink.problem), "")

    @property
    def others(self) -> tuple[OtherSink, ...]:
        """All sinks but the main one."""
        return self._others

    @property
    def oldest(self) -> int:
        """The number of the first line of the oldest request under way, or of the next line."""
        following = self.chain.seq + 1
        return next(iter(self._begun.values()), following)

    @property
    def lags(self) -> bool:
        """Whether a line that was written may still wait in this process."""
        return bool(self._required) or self._main.lags

    # lines

    def begin(self, request_id: str, body: str) -> None:
        """The first line of a request. Raises OSError, and then the request must not go on."""
        self.flush()
        if self._broken is not None:
            raise again(self._broken)
        for sink in self._required:
            if sink.problem:
                raise OSError(errno.EIO, sink.problem)
        begun = self._begun
        begun[request_id] = self._chain.seq + 1
        try:
            self._append((body,), len(begun) * LONGEST_LINE)
        except OSError as error:
            del begun[request_id]
            self._fail(error)
            raise

    def end(self, request_id: str, body: str) -> None:
        """The last line of a request. It has its room; where it fails all the same, it waits."""
        self.flush()
        self._begun.pop(request_id, None)
        if not (self._ends or self._hangs):
            try:
                self._append((body,), 0)
            except OSError as error:
                self._fail(error)
            else:
                return
        self._ends.append(body)

    def begin_soon(self, request_id: str, body: str, unwritten: Callable[[OSError], None]) -> bool:
        """`begin`, at the end of this turn. Raises OSError where it is known now that it will not do.

        Where it is possible that the line will have to be waited for, it is written now, and it is
        said whether it has to be.
        """
        lines = self.turn_lines
        if self._is_prompt and self._broken is None and lines.goes_first:
            self._begun[request_id] = self._chain.seq + lines.add((request_id, body, unwritten))
            return False
        self.begin(request_id, body)
        return self.lags

    def end_soon(self, request_id: str, body: str) -> bool:
        """`end`, in the same way."""
        lines = self.turn_lines
        if self._is_prompt and lines.goes_first:
            self._begun.pop(request_id, None)
            lines.add((request_id, body, None))
            return False
        self.end(request_id, body)
        return self.lags

    def _write_turn(self, turn: Sequence[TurnLine]) -> int:
        """How many of them, from the first on, are written now."""
        begun, count = self._begun, 0
        if self._broken is None:
            try:
                count = self._append([body for _, body, _ in turn], len(begun) * LONGEST_LINE)
            except OSError as error:
                if error.errno not in _FULL:  # some of them may have room all the same
                    self._fail(error)
        if count < len(turn):
            for request_id, _, unwritten in turn[count:]:
                if unwritten is not None:
                    begun.pop(request_id, None)
        return count

    def _write_alone(self, line: TurnLine) -> None:
        request_id, body, unwritten = line
        if unwritten is None:
            self.end(request_id, body)
            return
        try:
            self.begin(request_id, body)
        except OSError as error:
            unwritten(error)

    def refusal(self, body: str) -> bool:
        """The only line of a request. It never takes the room of an end, and its waiting has a bound.

        False where it waits, or was dropped.
        """
        self.flush()
        if self._broken is None:
            try:
                self._append((body,), len(self._begun) * LONGEST_LINE)
            except OSError as error:
                self._fail(error)
            else:
                return True
        if len(self._refusals) < _MOST_REFUSALS:
            self._refusals.append(body)
        else:
            self.dropped += 1
        return False

    def event(self, event: str, facts: Mapping[str, object]) -> bool:
        """A line about the gateway itself; waits as a refusal does."""
        return self.refusal(self._event_body(event, facts))

    def use_key(self, key: ChainKey) -> None:
        """Seal with this key from now on."""
        chain = self.chain
        chain.use(key)
        self._keeper.note(chain.seq, key.epoch, chain.mac)

    def look(self) -> None:
        """See to the file while nobody asks for a line."""
        self.flush()
        if self._broken is None:
            self._attempt(self._main.look)

    def rotate(self) -> None:
        """Begin a new file, because somebody asks for it."""
        self.flush()
        if self._broken is None:
            self._attempt(self._main.rotate)

    def _attempt(self, turn: Callable[[], Turn | None]) -> None:
        try:
            self._tell(turn())
        except OSError as error:
            self._fail(error)

    async def settle(self, *, durable: bool) -> None:
        """Wait until every line so far is as safe as it shall be. Raises OSError."""
        self.flush()
        if self._broken is not None and self._hangs:
            raise again(self._broken)
        try:
            await self._main.settle(durable=durable and self.syncs)
        except OSError as error:
            self._fail(error)
            raise
        for sink in self._required:  # one that fails says so by itself, until it is well
            await sink.settle()

    def _append(self, bodies: Sequence[str], kept: int) -> int:
        """Write lines and leave `kept` bytes of room, or for 0 take a room that was kept. Raises OSError.

        How many of them, from the first on: one at least.
        """
        try:
            return self._write(bodies, kept)
        except OSError:
            raise
        except Exception as fault:
            raise as_error(fault) from fault

    def _write(self, bodies: Sequence[str], kept: int) -> int:
        now = time.monotonic()
        if now >= self._look_at:
            turn = self._main.look()  # where that fails, nothing is written before it was done
            self._look_at = now + _LOOK_SECONDS
            self._tell(turn)
        chain, main = self._chain, self._main
        lines, macs = chain.seal(bodies)
        if kept:
            kept += sum(map(len, lines))
            if main.size + kept > main.room_to:
                main.make_room(kept)
        count = main.write(lines)
        chain.advance(macs[:count])
        self._keeper.note(chain.seq, chain.key.epoch, chain.mac)
        self.written += count
        for sink in self._others:
            for line in lines[:count]:
                sink.put(line)
        if not self._is_dirty:
            self._sync_soon()
        return count

    def _tell(self, turn: Turn | None) -> None:
        """A new file begins with the line that says why."""
        if turn is not None:
            self._untold.append(turn)
            self._look_at = time.monotonic() + _LOOK_SECONDS  # the file was looked at just now
        while self._untold:
            told = self._untold.popleft()
            body = self._event_body(told.event, told.facts)
            try:
                self._append((body,), len(self._begun) * LONGEST_LINE)
            except OSError:
                self._untold.appendleft(told)
                self._look_at = 0.0  # the next line comes behind it, too
                raise

    def _event_body(self, event: str, facts: Mapping[str, object]) -> str:
        return event_body(event, self._moment(self._now()), facts)

    # to disk

    def _sync_soon(self) -> None:
        self._is_dirty = True
        if self.syncs:
            asyncio.get_running_loop().call_later(_SYNC_SECONDS, self._start, self._sync)

    async def _sync(self) -> None:
        """Bring to disk what nobody waits for. That a disk hangs is found out here, too."""
        self._is_dirty = False
        try:
            await self.settle(durable=True)
        except OSError as error:
            _log.debug("the audit is not on disk: %s", text_of(error))

    def _start(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # failures

    @property
    def _hangs(self) -> bool:
        """Whether even trying may take for ever."""
        return self._broken is not None and self._broken.errno == errno.ETIMEDOUT

    def _fail(self, error: OSError) -> None:
        """Admit nothing any more, and try until it works again."""
        self.failures += 1
        if self._broken is None:
            self._broken, self._broken_at = error, self._now()
            _log.error("the audit cannot be written: %s", text_of(error), exc_info=error.__cause__)
            self._start(self._repair)

    async def _repair(self) -> None:
        while self._broken is not None:
            if not await self.try_again():
                await asyncio.sleep(_RETRY_SECONDS)

    async def try_again(self) -> bool:
        """Write what waits, first of all; then say what happened, and admit requests again."""
        error, waited = self._broken, 0
        if error is None:
            return True
        try:
            self._tell(self._main.repair())
            waited += self._catch_up()
            await self._main.settle(durable=self.syncs)
            waited += self._catch_up()
            facts = {
                "reason": text_of(error),
                "since": self._moment(self._broken_at),
                "lines": waited,
                "dropped": self.dropped,
            }
            self._main.make_room(len(self._begun) * LONGEST_LINE + _ROOM_TO_RECOVER)
            recovered = self._event_body("recovered", facts)
            self._append((recovered,), len(self._begun) * LONGEST_LINE)
        except Exception as still:  # noqa: BLE001  # whatever it is, it is tried again
            _log.debug("the audit still cannot be written: %s", text_of(as_error(still)))
            return False
        self._broken, self.dropped = None, 0
        _log.warning("the audit can be written again; %d lines had waited", waited)
        return True

    def _catch_up(self) -> int:
        """Write what waits, ends first, because they have their room; how many lines that were."""
        self.flush()
        count = 0
        for waiting, is_end in ((self._ends, True), (self._refusals, False)):
            while waiting:
                kept = 0 if is_end else len(self._begun) * LONGEST_LINE + 1
                self._append((waiting[0],), kept)
                waiting.popleft()
                count += 1
        return count
