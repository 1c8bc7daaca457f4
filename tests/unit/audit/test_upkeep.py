"""Heads and keys in the course of time."""

import errno
from typing import Any

from gateway.audit.chain import Chain, ChainKey, new_chain_key
from gateway.audit.journal import Journal
from gateway.audit.recovery import read_past, resume
from gateway.audit.sinks import Forgetful
from gateway.audit.upkeep import Intervals, Upkeep
from tests.fakes import FakeClock, FakeSink

KEY = new_chain_key(b"k" * 32)


class Scene:
    """An upkeep with a clock of its own, and the keys that it has saved."""

    def __init__(self, **intervals: Any) -> None:
        self.sink, self.clock = FakeSink(), FakeClock()
        self.saved: list[ChainKey] = []
        self.save_error: OSError | None = None
        self.journal = Journal(Chain(KEY), Forgetful(), self.clock)
        self.journal.use(self.sink, ())
        self.upkeep = Upkeep(self.journal, self.save, self.clock)
        self.upkeep.intervals = Intervals(**intervals)

    async def save(self, key: ChainKey) -> None:
        if self.save_error is not None:
            raise self.save_error
        self.saved.append(key)

    def write(self, count: int) -> None:
        for _ in range(count):
            self.journal.event("x", {})

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.sink.records]


async def test_a_head_is_written_at_intervals_and_only_where_there_was_traffic() -> None:
    scene = Scene(head_seconds=60)
    scene.write(3)
    await scene.upkeep.tick()
    assert scene.events == ["x", "x", "x"]
    for _ in range(3):
        scene.clock.advance(60)
        await scene.upkeep.tick()
    assert scene.events == ["x", "x", "x", "head"]
    head, line = scene.upkeep.head, scene.sink.records[-1]
    assert head == (KEY.chain, line["seq"], line["mac"])
    assert line["head"] == scene.sink.records[-2]["mac"]


async def test_a_head_is_published_only_once_it_is_on_disk() -> None:
    scene = Scene()
    scene.write(1)
    await scene.upkeep.write_head()
    known = scene.upkeep.head

    async def fails(*, durable: bool) -> None:
        raise OSError(errno.EIO, "Input/output error")

    scene.sink.settle = fails  # type: ignore[method-assign]
    await scene.upkeep.write_head()
    assert scene.upkeep.head == known


async def test_the_key_moves_on_by_lines_or_by_time() -> None:
    scene = Scene(key_lines=5, key_seconds=100)
    scene.write(4)
    await scene.upkeep.tick()
    assert scene.saved == []
    scene.write(1)
    await scene.upkeep.tick()
    assert scene.saved == [KEY.following()]
    scene.clock.advance(1000)
    await scene.upkeep.tick()
    assert len(scene.saved) == 1, "without lines there is nothing to seal"
    scene.write(1)
    await scene.upkeep.tick()
    assert [key.epoch for key in scene.saved] == [1, 2]
    assert [line["epoch"] for line in scene.sink.records if line["event"] == "key"] == [1, 2]


async def test_a_key_is_saved_only_when_its_line_is_on_disk_and_again_if_that_failed() -> None:
    scene = Scene(key_lines=1)
    scene.write(1)
    scene.save_error = OSError(errno.ENOSPC, "No space left on device")
    await scene.upkeep.tick()
    assert scene.sink.settled[-1] is True
    scene.save_error = None
    await scene.upkeep.tick()
    assert scene.saved[0] == KEY.following()


async def test_whatever_key_was_saved_last_the_chain_goes_on() -> None:
    """A kill between the line and the file of the key."""
    scene = Scene(key_lines=1)
    for _ in range(5):
        scene.write(1)
        await scene.upkeep.tick()
    for saved in [KEY, *scene.saved]:
        resumed = resume(saved, read_past(reversed(scene.sink.lines)), None)
        assert resumed.problem == ""
        assert resumed.chain.key == scene.journal.chain.key
        assert resumed.chain.seal(['"event":"x"']) == scene.journal.chain.seal(['"event":"x"'])


async def test_nothing_is_due_while_the_audit_cannot_be_written() -> None:
    scene = Scene(key_lines=1, head_seconds=1)
    scene.write(1)
    scene.sink.error = OSError(errno.ENOSPC, "No space left on device")
    scene.clock.advance(100)
    await scene.upkeep.tick()
    assert (scene.saved, scene.upkeep.head, scene.journal.chain.key) == ([], None, KEY)
