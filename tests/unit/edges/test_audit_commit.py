"""One run for all that wait, and only a run that began after they did."""

import asyncio
import threading
import time

import pytest

from gateway.edges.audit_commit import GroupCommit
from tests.upstream_kit import settled


class Disk:
    """A commit that takes as long as it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = threading.Event()
        self.error: OSError | None = None

    def __call__(self) -> None:
        self.runs += 1
        self.go.wait(60)
        if self.error is not None:
            raise self.error


async def test_one_run_serves_all_that_wait() -> None:
    disk = Disk()
    disk.go.set()
    commits = GroupCommit(disk)
    await asyncio.gather(*(commits.wait() for _ in range(50)))
    assert disk.runs == 1
    await commits.wait()
    assert disk.runs == 2


async def test_those_of_the_turns_of_the_loop_in_between_come_along() -> None:
    """Two come in the first turn, and one more in each that follows."""
    disk = Disk()
    disk.go.set()
    commits = GroupCommit(disk, gathering_seconds=60)
    waiting = [asyncio.create_task(commits.wait())]
    for _ in range(9):
        waiting.append(asyncio.create_task(commits.wait()))
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [1] * 10
    assert await commits.wait() == 2
    assert disk.runs == 2


async def test_who_was_served_and_waits_again_comes_along_with_those_who_gathered() -> None:
    disk = Disk()
    commits = GroupCommit(disk, 60)

    async def wait_twice() -> tuple[int, int]:
        return await commits.wait(), await commits.wait()

    first = asyncio.create_task(wait_twice())
    await settled(lambda: bool(disk.runs))
    gathered = asyncio.create_task(commits.wait())
    await asyncio.sleep(0)
    disk.go.set()
    assert (await first, await gathered) == ((1, 2), 2)


async def test_a_group_is_closed_although_every_turn_brings_one_more() -> None:
    disk = Disk()
    disk.go.set()
    commits = GroupCommit(disk)
    waiting = [asyncio.create_task(commits.wait())]
    while not disk.runs:
        assert len(waiting) < 100_000, "nobody is ever served"
        waiting.append(asyncio.create_task(commits.wait()))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)


async def test_who_comes_during_a_run_waits_for_the_next() -> None:
    """The lines of a latecomer may not be part of the run under way."""
    disk = Disk()
    commits = GroupCommit(disk, 60)
    first = asyncio.create_task(commits.wait())
    await settled(lambda: bool(disk.runs))
    late = [asyncio.create_task(commits.wait()) for _ in range(10)]
    await asyncio.sleep(0.02)
    assert disk.runs == 1
    disk.go.set()
    await asyncio.gather(first, *late)
    assert disk.runs == 2


async def test_a_failure_is_told_to_all_of_its_group_and_to_no_other() -> None:
    disk = Disk()
    disk.go.set()
    disk.error = OSError(5, "Input/output error")
    commits = GroupCommit(disk)
    outcomes = await asyncio.gather(*(commits.wait() for _ in range(3)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["[Errno 5] Input/output error"] * 3
    assert len(set(map(id, outcomes))) == 3, "one object would gather the tracebacks of all"
    disk.error = None
    await commits.wait()


async def test_a_run_that_hangs_is_given_up_by_all_and_recovers_by_itself() -> None:
    disk = Disk()
    commits = GroupCommit(disk, 1.0)
    began = asyncio.create_task(commits.wait())
    await settled(lambda: bool(disk.runs))
    gathered = asyncio.create_task(commits.wait())
    await asyncio.sleep(0)
    assert not commits.hangs, "the third is to come when it does"
    for waiting in (began, gathered, commits.wait()):
        with pytest.raises(OSError, match="does not answer"):
            await asyncio.wait_for(waiting, 30)
    assert disk.runs == 1
    disk.go.set()
    await settled(lambda: not commits.hangs)
    await commits.wait()
    assert disk.runs == 2, "nobody has waited for another"


async def test_a_second_disk_that_hangs_is_noticed_as_the_first_was() -> None:
    disk = Disk()
    commits = GroupCommit(disk, 1.0)
    for _ in range(2):
        disk.go.clear()
        with pytest.raises(OSError, match="does not answer"):
            await asyncio.wait_for(commits.wait(), 30)
        disk.go.set()
        await commits_again(commits)


async def commits_again(commits: GroupCommit) -> None:
    """Until it has, and long enough that nothing watches it any more."""
    await settled(lambda: not commits.hangs)
    await commits.wait()
    await asyncio.sleep(0.25)


async def test_an_event_loop_that_was_busy_is_no_sign_of_a_slow_disk() -> None:
    disk = Disk()
    disk.go.set()
    commits = GroupCommit(disk, 1.0)
    waiting = asyncio.create_task(commits.wait())
    await asyncio.sleep(0)
    time.sleep(1.5)  # noqa: ASYNC251 (this is the point)
    await waiting


async def test_a_fault_of_ours_is_a_failure_too_and_the_thread_goes_on() -> None:
    disk = Disk()
    disk.error = ValueError("file descriptor cannot be a negative integer")  # type: ignore[assignment]
    disk.go.set()
    commits = GroupCommit(disk)
    with pytest.raises(OSError, match="ValueError"):
        await commits.wait()
    disk.error = None
    await commits.wait()
    commits.close(lambda: None)
    with pytest.raises(OSError, match="closed"):
        await commits.wait()


async def test_one_who_goes_away_keeps_nothing_from_the_others() -> None:
    disk = Disk()
    commits = GroupCommit(disk, 60)
    gone, there = (asyncio.create_task(commits.wait()) for _ in range(2))
    await settled(lambda: bool(disk.runs))
    gone.cancel()
    disk.go.set()
    await there
