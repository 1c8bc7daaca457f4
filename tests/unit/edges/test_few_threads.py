"""A call that hangs keeps one thread, never the process and never its caller."""

import asyncio
import threading

import pytest

from gateway.edges.few_threads import FewThreads


async def test_a_result_and_an_exception_come_back() -> None:
    threads = FewThreads(1)
    assert await threads.run(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(5, lambda: 1 // 0)
    assert await threads.run(5, threading.get_ident) != threading.get_ident()


async def test_hanging_calls_hold_their_threads_and_no_more_are_started() -> None:
    threads, release = FewThreads(2), threading.Event()
    before = threading.active_count()
    hung = [threads.run(0.05, release.wait) for _ in range(6)]
    answers = await asyncio.gather(*hung, return_exceptions=True)
    assert [type(answer) for answer in answers] == [TimeoutError] * 6
    assert threading.active_count() <= before + 2
    release.set()
    assert await threads.run(5, lambda: "free again") == "free again"


async def test_a_cancelled_caller_leaves_the_thread_counted_until_it_ends() -> None:
    threads, release, started = FewThreads(1), threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        release.wait()

    task = asyncio.create_task(threads.run(60, hang))
    await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        await threads.run(0.05, lambda: None)
    release.set()
    assert await threads.run(5, lambda: "free") == "free"


def test_a_thread_that_outlives_the_loop_harms_nobody() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait()
        ended.set()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await FewThreads(1).run(0.01, hang)

    asyncio.run(give_up())
    release.set()
    assert ended.wait(60)


async def test_a_machine_that_gives_no_thread_is_an_os_error_and_the_place_is_given_back() -> None:
    threads = FewThreads(1)
    usual = threading.stack_size(1 << 46)
    try:
        with pytest.raises(OSError, match="no thread"):
            await threads.run(5, lambda: None)
    finally:
        threading.stack_size(usual)
    assert await threads.run(5, lambda: 7) == 7
