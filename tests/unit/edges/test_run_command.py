"""A program gets an argument list, little environment, little time and little room, and no shell."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from gateway.edges.run_command import MAXIMUM_OUTPUT_BYTES, RunCommand, minimal_environment
from gateway.stages.credential import CredentialDoubt

SCRIPT = (sys.executable, "-c")


def run(limit_seconds: float = 10, **environment: str) -> RunCommand:
    return RunCommand(minimal_environment({**os.environ, **environment}), limit_seconds)


async def test_what_is_printed_comes_back_and_no_shell_reads_the_arguments() -> None:
    assert await run()(("echo", "$HOME; `id`", "*")) == "$HOME; `id` *\n"


async def test_the_program_sees_only_what_scontrol_needs() -> None:
    runner = run(SLURM_CONF="/opt/slurm.conf", GATEWAY_SECRET="canary", SLURM_JWT="canary")
    printed = await runner(("env",))
    names = {line.partition("=")[0] for line in printed.splitlines()}
    assert "SLURM_CONF=/opt/slurm.conf" in printed
    assert names <= {"PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "LD_LIBRARY_PATH", "LC_ALL"}


async def test_the_program_has_no_input_to_wait_for() -> None:
    assert await run()(("cat",)) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/nonexistent/scontrol",), "cannot be run: No such file or directory"),
        (("/etc/passwd",), "cannot be run: Permission denied"),
        (("false",), "ended with status 1: it said nothing"),
        ((*SCRIPT, "import sys; sys.exit('no\\n  such user')"), "status 1: no such user"),
        ((*SCRIPT, "import os; os.kill(os.getpid(), 9)"), "ended with status -9"),
        ((*SCRIPT, f"print('x' * {MAXIMUM_OUTPUT_BYTES})"), "printed over 65536 bytes"),
    ],
)
async def test_a_program_that_fails_says_how(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CredentialDoubt, match=words):
        await run()(arguments)


@pytest.mark.parametrize(
    "said", ["SLURM_JWT=canary", "eyJhbGciOi.canary.canary", "token eyJhbGciOiJIUzI1NiJ9.canary."]
)
async def test_a_complaint_never_repeats_a_token(said: str) -> None:
    with pytest.raises(CredentialDoubt) as caught:
        await run()((*SCRIPT, f"import sys; sys.exit({said!r})"))
    assert "canary" not in str(caught.value)


async def test_a_program_that_floods_either_stream_needs_no_room_and_ends() -> None:
    flood = "import sys; sys.stderr.write('e' * 9_000_000); sys.exit(3)"
    with pytest.raises(CredentialDoubt, match=r"status 3: e+$") as caught:
        await run()((*SCRIPT, flood))
    assert len(str(caught.value)) < 500


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < end, f"{pid} still runs"
        await asyncio.sleep(0.01)


async def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > {note}; wait"
    with pytest.raises(CredentialDoubt, match="took over 0\\.5 s"):
        await run(0.5)(("sh", "-c", script))
    for pid in note.read_text().split():
        await wait_until_gone(int(pid))


async def test_a_caller_that_goes_away_leaves_no_program_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    task = asyncio.create_task(run(60)(("sh", "-c", f"echo $$ > {note}; exec sleep 600")))
    while not (note.exists() and note.read_text()):  # noqa: ASYNC110 (another process writes it)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_gone(int(note.read_text()))
