"""Tokens from files and commands: followed, renewed in time by one at a time, and never quoted."""

import asyncio
from pathlib import Path

import pytest

from gateway.edges.few_threads import FewThreads
from gateway.edges.secret_file import CHECK_SECONDS
from gateway.edges.token_source import RETRY_SECONDS, CommandTokens, FileTokens
from gateway.stages.credential import CredentialDoubt
from tests.contracts.test_token_source import make_text
from tests.fakes import FakeClock

NOW = 1_800_000_000.0


def write(path: Path, text: str, mode: int = 0o600) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.rename(path)


@pytest.mark.parametrize(
    ("mode", "good"),
    [
        (0o400, True),
        (0o600, True),
        (0o640, True),
        (0o440, True),
        (0o644, False),
        (0o660, False),
        (0o604, False),
        (0o601, False),
    ],
)
async def test_a_token_file_is_not_for_everybody(tmp_path: Path, mode: int, good: bool) -> None:
    write(tmp_path / "token", make_text("alice", NOW), mode)
    tokens = FileTokens(str(tmp_path / "token"), FewThreads(1))
    inside = FileTokens(str(tmp_path / "token"), FewThreads(1), credentials_directory=tmp_path)
    assert (await inside("alice")).unverified_user == "alice"
    if good:
        assert (await tokens("alice")).unverified_user == "alice"
        return
    with pytest.raises(CredentialDoubt, match="chmod o-rwx,g-w"):
        await tokens("alice")


async def test_a_token_file_is_followed_and_its_trouble_is_told(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "token"
    tokens = FileTokens(str(path), FewThreads(1), monotonic=clock)
    write(path, make_text("alice", NOW))
    assert (await tokens("alice")).unverified_expires == NOW
    write(path, make_text("alice", NOW + 60))
    clock.advance(CHECK_SECONDS)
    assert (await tokens("alice")).unverified_expires == NOW + 60
    write(path, "canary")
    clock.advance(CHECK_SECONDS)
    with pytest.raises(CredentialDoubt, match="is not one signed token") as caught:
        await tokens("alice")
    assert "canary" not in str(caught.value)
    assert tokens.state() == str(caught.value)


async def test_the_memory_of_token_files_is_bounded(tmp_path: Path) -> None:
    tokens = FileTokens(f"{tmp_path}/{{user}}", FewThreads(1), maximum_users=2)
    for user in ("a", "b", "c"):
        write(tmp_path / user, make_text(user, NOW))
        assert (await tokens(user)).unverified_user == user
    assert len(tokens._files) == 2


class Program:
    """Prints what a test says, when it says so, and notes what it was asked."""

    def __init__(self, clock: FakeClock, lifetime: float = 300) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.asked: list[tuple[str, ...]] = []
        self.says = ""
        self.fails = ""
        self.go = asyncio.Event()
        self.go.set()
        self.running = self.most_running = 0

    async def __call__(self, arguments: tuple[str, ...]) -> str:
        self.asked.append(arguments)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await self.go.wait()
        self.running -= 1
        if self.fails:
            raise CredentialDoubt(self.fails)
        user = arguments[-1].partition("=")[2] or "slurm"
        return self.says or make_text(user, self.clock.now + self.lifetime)


class Scene:
    """A CommandTokens over a Program, on one clock."""

    def __init__(self, *, per_user: bool = True, lifetime: float = 300) -> None:
        self.clock = FakeClock(NOW)
        self.program = Program(self.clock, lifetime)
        command = ("scontrol", "token", "username={user}" if per_user else "lifespan=")
        self.tokens = CommandTokens(
            command,
            self.program,
            refresh_seconds=30,
            now=self.clock,
            monotonic=self.clock,
            maximum_users=50,
        )

    async def left(self, user: str = "alice") -> float:
        return (await self.tokens(user)).unverified_expires - self.clock.now

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_command_is_asked_once_and_its_token_used_until_it_is_due() -> None:
    scene = Scene()
    assert await scene.left() == 300
    scene.clock.advance(270)
    assert await scene.left() == 30
    assert scene.program.asked == [("scontrol", "token", "username=alice")]


async def test_a_token_that_is_due_serves_on_while_the_next_is_fetched() -> None:
    scene = Scene()
    await scene.left()
    scene.clock.advance(271)
    scene.program.go.clear()
    assert [await scene.left() for _ in range(3)] == [29, 29, 29]
    scene.program.go.set()
    await scene.settle()
    assert await scene.left() == 300
    assert len(scene.program.asked) == 2


async def test_a_token_that_is_over_is_waited_for_by_all_in_one_flight() -> None:
    scene = Scene()
    await scene.left()
    scene.clock.advance(296)
    assert await asyncio.gather(*(scene.left() for _ in range(50))) == [300] * 50
    assert len(scene.program.asked) == 2


async def test_users_have_their_own_tokens_and_few_commands_run_at_once() -> None:
    scene = Scene()
    scene.program.go.clear()
    names = [f"u{number}" for number in range(20)]
    fetching = asyncio.gather(*map(scene.tokens, names))
    await scene.settle()
    scene.program.go.set()
    assert [token.unverified_user for token in await fetching] == names
    assert scene.program.most_running == 4


async def test_one_token_for_all_is_asked_for_once() -> None:
    scene = Scene(per_user=False)
    tokens = await asyncio.gather(scene.tokens("alice"), scene.tokens("bob"))
    assert [token.unverified_user for token in tokens] == ["slurm", "slurm"]
    assert scene.program.asked == [("scontrol", "token", "lifespan=")]


async def test_a_failure_is_everybodys_and_is_not_repeated_at_once() -> None:
    scene = Scene()
    scene.program.fails = "scontrol ended with status 1: slurmctld is down"
    for _ in range(3):
        with pytest.raises(CredentialDoubt, match="slurmctld is down"):
            await scene.left()
    assert len(scene.program.asked) == 1
    assert "slurmctld is down" in scene.tokens.state()
    scene.program.fails = ""
    scene.clock.advance(RETRY_SECONDS)
    assert await scene.left() == 300
    assert scene.tokens.state() == ""


async def test_a_failing_renewal_leaves_the_old_token_in_use() -> None:
    scene = Scene()
    await scene.left()
    scene.clock.advance(280)
    scene.program.fails = "slurmctld is down"
    assert await scene.left() == 20
    await scene.settle()
    assert await scene.left() == 20
    assert scene.tokens.state() == "slurmctld is down"
    scene.clock.advance(16)
    assert await scene.left() == 4  # the stage refuses it: it decides what is too little


async def test_a_token_shorter_than_the_refresh_time_does_not_run_the_command_all_the_time() -> (
    None
):
    scene = Scene(lifetime=20)
    for _ in range(100):
        await scene.left()
        await scene.settle()
    assert len(scene.program.asked) == 1


async def test_what_is_printed_instead_of_a_token_is_refused_without_quoting_it() -> None:
    scene = Scene()
    scene.program.says = "canary\n"
    with pytest.raises(CredentialDoubt, match="what scontrol printed is not one signed") as caught:
        await scene.left()
    assert "canary" not in str(caught.value)


async def test_the_memory_of_tokens_is_bounded() -> None:
    scene = Scene()
    for number in range(60):
        await scene.tokens(f"u{number}")
    assert len(scene.tokens._held) == 50
