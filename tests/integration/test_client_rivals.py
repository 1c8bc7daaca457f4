"""Words that rule each other out come to what sbatch makes of them: the same job, or none, on every release."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import StartGateway

FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
RIVALS = (
    ("SBATCH_MEM_PER_NODE=300", "-n 1", "--mem-per-cpu=100"),
    ("SBATCH_MEM_PER_CPU=300", "--mem=100", "-n1"),
    ("SBATCH_MEM_PER_NODE=300", "--mem=100", "-n1"),
    ("SBATCH_NO_REQUEUE=1", "--requeue", "--requeue"),
    ("SBATCH_NO_REQUEUE=1", "--requeue", "-n1"),
    ("NOTHING=1", "--no-requeue", "--requeue"),
    ("NOTHING=1", "--requeue", "--no-requeue"),
    ("NOTHING=1", "--mem=300", "--mem-per-cpu=100"),
)
"""A variable, a line of the script and a word of the command line. The last of them make no job."""
_SETTLED = re.compile(r"MinMemory\w+=\S+|Requeue=\d")


@pytest.fixture
def terminal(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    tmp_path: Path,
    identity_provider: IdentityProvider,
) -> Terminal:
    site = shared_gateway(slurm_release)
    token = identity_provider.token_for("alice")
    environment = {"SLURM_GATEWAY_URL": site.url, "SLURM_GATEWAY_TOKEN": token}
    return Terminal(tmp_path / "home", site.ca_file, environment)


def by_sbatch(release: SlurmRelease, variable: str, script: str, word: str) -> str:
    file = "/var/tmp/rivals.sh"  # noqa: S108 (read at once)
    typed = f"{variable} sbatch -H --parsable -D {FOLDER} {word} {file}"
    done = subprocess.run(
        release.layout.command(("sh", "-c", f"cat > {file} && {typed}"), "alice"),
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or "mutually exclusive" in done.stderr, done.stderr
    return done.stdout.strip()


def by_client(terminal: Terminal, variable: str, script: Path, word: str) -> str:
    name, _, value = variable.partition("=")
    options = ("-H", "--parsable", "-D", FOLDER, word)
    done = terminal.type("submit", *options, str(script), **{name: value})
    assert done.exit_code == 0 or "rule each other out" in done.stderr, done.stderr
    return done.stdout.strip()


def settled(release: SlurmRelease, job: str) -> list[str]:
    """How much memory, and whether it is requeued; nothing where there is no job."""
    return _SETTLED.findall(release.run("scontrol", "-o", "show", "job", job)) if job else []


def test_words_against_each_other_come_to_what_sbatch_makes_of_them(
    terminal: Terminal, slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    theirs, ours = [], []
    script = tmp_path / "rivals.sh"
    for variable, line, word in RIVALS:
        script.write_text(f"#!/bin/sh\n#SBATCH {line}\nsleep 1\n")
        jobs = (
            by_sbatch(slurm_release, variable, script.read_text(), word),
            by_client(terminal, variable, script, word),
        )
        theirs.append(settled(slurm_release, jobs[0]))
        ours.append(settled(slurm_release, jobs[1]))
        if any(jobs):
            slurm_release.run("scancel", *filter(None, jobs))
    assert ours == theirs
    assert [bool(one) for one in ours] == [True] * (len(RIVALS) - 1) + [False]


def test_a_signal_for_the_jobs_of_a_reservation_is_no_other_signal(
    terminal: Terminal, slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    """Where nothing may be preempted, newer releases refuse it as they refuse sbatch's; older APIs have no field."""
    script = tmp_path / "signal.sh"
    script.write_text("#!/bin/sh\n#SBATCH --signal=R:USR1@120\nsleep 1\n")
    done = terminal.type("submit", "-H", "-D", FOLDER, str(script))
    has_field = slurm_release.release.slurm in ("24.11", "26.05")
    assert ("Preemption is required" in done.stderr) is has_field
    assert ("know no B: or R:" in done.stderr) is not has_field
