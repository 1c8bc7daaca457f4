"""(function, seconds) -> its result, from one of a few threads that a hanging call cannot use up."""

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class FewThreads:
    """At most `count` calls at a time, in daemon threads: a call that hangs in the kernel or in NSS
    keeps its thread, its callers give up in time, and the process can still end.

    asyncio.to_thread is not enough: its pool is everybody's, and it is joined at exit.
    """

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    async def run(self, seconds: float, function: Callable[[], T]) -> T:
        """What `function` returns or raises. TimeoutError after `seconds`, waiting included.

        OSError where the machine gives no thread.
        """
        async with asyncio.timeout(seconds):
            await self._free.acquire()
            return await self._start(function)

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: Exception | None) -> None:
            self._free.release()
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T, where there is no error

        def work() -> None:
            result, error = None, None
            try:
                result = function()
            except Exception as raised:  # noqa: BLE001 - it is raised again where it is awaited
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(tell, result, error)

        try:
            threading.Thread(target=work, daemon=True, name="few-threads").start()
        except RuntimeError as error:
            self._free.release()
            raise OSError(errno.EAGAIN, "no thread can be started") from error
        return future
