"""(function on a SQLite file) -> its result, once it is on disk: what waits at the same time shares one commit."""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_MOST_IN_A_COMMIT = 256
_LOCK_SECONDS = 2.0


class StoreVanished(OSError):
    """The file is not the one that was opened: what it remembered is gone, or is somebody else's."""


class _Job(NamedTuple):
    work: Work[Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class GroupCommit:
    """One thread with one connection. `prepare` makes the schema and reads what it wants to remember.

    WAL with synchronous=FULL: a commit is one write and one sync of the log, and a crash or a power
    cut loses nothing that was committed. A failed batch is rolled back and fails whole.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._prepare = prepare
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._opened: tuple[int, int] | None = None
        self.commits = 0

    def create(self) -> None:
        """Make the file, mode 0600, where there is none, and try it. Raises OSError, sqlite3.Error. Blocks."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        connection = self._connect()
        connection.close()

    async def run(self, seconds: float, work: Work[T]) -> T:
        """What `work` returns or raises, durable. TimeoutError after `seconds`; it may be done all the same."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True, name="group-commit")
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Job(work, future, loop))
        async with asyncio.timeout(seconds):
            return await future

    async def close(self) -> None:
        """End the thread after what waits; one that hangs is left behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join, _LOCK_SECONDS)

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (batch := self._take()) is not None:
            try:
                if connection is None:
                    connection = self._connect()
                results = self._commit(connection, batch)
            except (sqlite3.Error, OSError) as error:
                results = [error] * len(batch)
                if connection is not None:
                    connection.close()
                connection = None  # the next batch opens it anew
            _tell(batch, results)
        if connection is not None:
            connection.close()

    def _take(self) -> list[_Job] | None:
        """Everything that waits; at least one. None is the end."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _MOST_IN_A_COMMIT:
                return batch
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)
            return batch
        return None

    def _commit(self, connection: sqlite3.Connection, batch: list[_Job]) -> list[Any]:
        """Results and refusals of each, in order, all of them durable."""
        self._check_file()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [_attempt(job.work, connection) for job in batch]
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self.commits += 1
        return results

    def _check_file(self) -> None:
        """A deleted or replaced file would take writes that no later start could read, or forget keys."""
        stat = os.stat(self._path)  # noqa: PTH116  # half the cost of Path.stat
        found = (stat.st_dev, stat.st_ino)
        if self._opened is None:
            self._opened = found
        if found != self._opened:
            raise StoreVanished(f"{self._path} was replaced")

    def _connect(self) -> sqlite3.Connection:
        self._check_file()
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_LOCK_SECONDS,
            isolation_level=None,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _attempt(work: Work[Any], connection: sqlite3.Connection) -> Any:
    """A refusal of one does not undo the others; a failure of the file does."""
    try:
        return work(connection)
    except (sqlite3.Error, OSError):
        raise
    except Exception as refusal:  # noqa: BLE001  # it is raised again where it is awaited
        return refusal


def _tell(batch: list[_Job], results: list[Any]) -> None:
    """All of one loop in one call."""

    def deliver() -> None:
        for job, result in zip(batch, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        batch[0].loop.call_soon_threadsafe(deliver)
