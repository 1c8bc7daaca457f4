"""make demo, as somebody sees it who types it: the job, the lines to go on with, Ctrl-C, and what is left."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lab.places import CHECKOUT
from lab.ports import free_port
from lab.processes import Recorded, wait_until
from lab.slurm import SlurmRelease
from tests.integration.in_chromium import at_the_provider, launched

pytestmark = pytest.mark.real

# The folder keeps it apart from a demo that somebody runs in this checkout by hand.
PROGRAM = """
import sys
from pathlib import Path
from lab.demo import demonstrate
sys.exit(demonstrate(once=sys.argv[1] == "once", port=int(sys.argv[2]), folder=Path(sys.argv[3])))
"""


def command(how: str, port: int, folder: Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, how, str(port), str(folder)]


def gateway_pid(folder: Path) -> int | None:
    return Recorded(folder / "pid", "python").pid()


def daemons(release: SlurmRelease) -> list[int | None]:
    return [release.pid_of(name) for name in release.expected()]


def test_once_ends_well_after_the_job_and_leaves_nothing_of_its_own(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    before = daemons(one_slurm_release)
    done = subprocess.run(
        command("once", free_port(), tmp_path),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "COMPLETED, exit code 0, Slurm user alice" in done.stdout
    assert "output, owned by alice: I am alice, uid" in done.stdout
    assert '"operation": "POST /slurm/*/job/submit"' in done.stdout
    assert '"verdict": "granted"' in done.stdout
    typed = done.stdout.partition("The same with the command line")[2]
    assert "Signed in at https://localhost:" in typed
    assert re.search(r"job \d+  COMPLETED on \S+, exit code 0:0", typed)
    assert re.search(r"^I am alice on \S+, job \d+\.$", typed, re.MULTILINE)
    assert not (tmp_path / "home/token").exists()
    assert gateway_pid(tmp_path) is None
    assert daemons(one_slurm_release) == before, "Slurm ran before and is used by others"


@contextmanager
def staying(port: int, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A demo that has got as far as saying how to stop it, with a file of what it printed."""
    printed = folder / "printed"
    with printed.open("wb") as output:
        demo = subprocess.Popen(
            command("stay", port, folder), cwd=CHECKOUT, stdout=output, stderr=output
        )
    try:
        wait_until(
            lambda: printed.read_bytes().endswith(b"/me\n") or demo.poll() is not None,
            120,
            "the demo",
        )
        yield demo, printed
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)


def test_the_printed_lines_work_until_ctrl_c(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    before = daemons(one_slurm_release)
    with staying(free_port(), tmp_path) as (demo, printed):
        lines = [line for line in printed.read_text().splitlines() if line.startswith("curl ")]
        assert len(lines) == 6, printed.read_text()
        statuses = [status_of(line) for line in lines]
        assert statuses == [200, 200, 200, 200, 200, 403]
        assert b"eyJ" not in Path(f"/proc/{demo.pid}/cmdline").read_bytes()
        assert "eyJ" not in printed.read_text(), "a token is in a private file and nowhere else"
        assert (tmp_path / "alice.header").stat().st_mode & 0o777 == 0o600
        assert gateway_pid(tmp_path) is not None
        second = subprocess.run(
            command("once", free_port(), tmp_path),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert "another demo of this checkout is running" in second.stderr
    assert demo.returncode == 0
    assert gateway_pid(tmp_path) is None
    assert daemons(one_slurm_release) == before


def test_the_printed_address_is_one_to_sign_in_at_as_whom_it_says(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    with staying(free_port(), tmp_path) as (_, printed), launched() as chromium:
        text = printed.read_text()
        address = text.splitlines()[-1]
        names = re.findall(r"no passwords: (.+)\.", text)[0].split(", ")
        assert names == ["alice", "bob", "carol", "dave", "root"]
        for name in names:
            context = chromium.new_context(ignore_https_errors=True)  # Advanced, Proceed
            page = context.new_page()
            page.goto(address)
            at_the_provider(page, name)
            expect(page.get_by_role("heading", name="My access")).to_be_visible()
            assert page.url == address
            who = page.locator("dt", has_text="Slurm user").locator("+ dd")
            expect(who).to_have_text("none" if name in {"dave", "root"} else name)
            context.close()


def status_of(line: str) -> int:
    """Run a line as it was printed, with curl asked for the status only."""
    words = shlex.split(line, comments=True)
    more = ["-s", "-o", "/dev/null", "-w", "%{http_code}"]
    done = subprocess.run([*words, *more], cwd=CHECKOUT, capture_output=True, check=True)
    return int(done.stdout)


def test_a_port_that_is_taken_is_said_with_what_to_type(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            command("once", port, tmp_path),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} is taken; type: make demo PORT={port + 1000}" in done.stderr
    assert daemons(one_slurm_release).count(None) == 0
