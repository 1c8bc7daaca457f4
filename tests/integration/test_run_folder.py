"""`run-folder` on real Slurm: everything is killed in the middle, and each file is exactly one job."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import StartGateway

FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
SERVED_NOWHERE = "v0.0.39"
"""The gateway knows it, and no release of the lab has it."""
SECONDS = 120
MANY = 4
SETTLE_SECONDS = 3.0
"""As in the other tests of keys: this slurmctld is not slow."""


class Jobs:
    """Job files of one test in a folder, whose jobs are gone after it."""

    def __init__(self, release: SlurmRelease, folder: Path) -> None:
        self.release = release
        self.folder = folder
        self.prefix = f"folder-{uuid.uuid4().hex[:8]}"
        self.made: list[str] = []
        self.seen: dict[str, list[str]] = {}
        folder.mkdir(mode=0o700)

    def drop(self, name: str, command: str = "true") -> None:
        """As one puts a file into such a folder: whole, at once."""
        self.made.append(f"{self.prefix}-{name}")
        draft = self.folder / f".{name}"
        options = f"#SBATCH -D {FOLDER} -o /dev/null -J {self.made[-1]}"
        draft.write_text(f"#!/bin/sh\n{options}\n{command}\n")
        draft.rename(self.folder / name)

    def ids(self, name: str) -> list[str]:
        """Of all jobs of this name, ended ones too.

        The accounting would keep them longer, but it learns of them minutes late where others make thousands.
        """
        wanted = ("-h", "-t", "all", "-o", "%A", "-n", f"{self.prefix}-{name}")
        self.seen[name] = sorted(
            {*self.seen.get(name, []), *self.release.run("squeue", *wanted).split()}
        )
        return self.seen[name]

    def known_anywhere(self, name: str) -> list[str]:
        """Those, and what the accounting knows already: an ended job leaves the queue after two minutes."""
        wanted = ("-n", "-X", "-a", "--name", f"{self.prefix}-{name}", "-o", "jobid")
        return sorted({*self.ids(name), *self.release.run("sacct", *wanted).split()})

    def is_there(self, name: str) -> bool:
        return bool(self.ids(name))

    def answer(self, place: str) -> dict[str, Any]:
        content = (self.folder / f"{place}.answer.json").read_text()
        answer: dict[str, Any] = json.loads(content)
        return answer


@pytest.fixture
def jobs(one_slurm_release: SlurmRelease, tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(one_slurm_release, tmp_path / "jobs")
    yield made
    for name in made.made:
        one_slurm_release.run("scancel", "-n", name)


def terminal_at(site: GatewayProcess, folder: Path, provider: IdentityProvider) -> Terminal:
    environment = {
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_TOKEN": provider.token_for("alice"),
    }
    return Terminal(folder / "home", site.ca_file, environment)


def test_an_api_version_that_slurm_has_no_more_fails_no_file(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    """As after an upgrade: it stops, and goes on with the file in another version."""
    terminal = terminal_at(shared_gateway(slurm_release), tmp_path, identity_provider)
    jobs = Jobs(slurm_release, tmp_path / "jobs")
    jobs.drop("job.sh")
    call = ("run-folder", "--once", "--settle", "0", str(jobs.folder))
    stopped = terminal.type(*call, "--api-version", SERVED_NOWHERE)
    assert (stopped.exit_code, jobs.ids("job.sh")) == (1, []), stopped
    assert "call again" in stopped.stderr
    assert [file.name for file in (jobs.folder / "running").iterdir()] == ["job.sh"]
    done = terminal.type(*call)
    assert done.exit_code == 0, done
    assert jobs.ids("job.sh") == [str(jobs.answer("done/job.sh")["job_id"])]


def test_a_task_that_was_requeued_has_one_end(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    """The accounting has a record for each of its runs, and the first of them is no good end."""
    terminal = terminal_at(shared_gateway(slurm_release), tmp_path, identity_provider)
    jobs = Jobs(slurm_release, tmp_path / "jobs")
    jobs.drop("array.sh", "#SBATCH --array=1-2 --requeue\nsleep 4")
    work = terminal.start("run-folder", "--once", "--settle", "0", str(jobs.folder))
    name = f"{jobs.prefix}-array.sh"

    def shown(form: str) -> list[str]:
        return slurm_release.run("squeue", "-h", "-t", "all", "-n", name, "-o", form).split()

    wait_until(lambda: shown("%T") == ["RUNNING"] * 2, 30, "both tasks")
    first = f"{jobs.ids('array.sh')[0]}_1"
    slurm_release.run("scontrol", "requeue", first)
    wait_until(lambda: f"{first}=PENDING" in shown("%i=%T"), 30, "the task to wait again")
    slurm_release.run("scontrol", "update", f"JobId={first}", "StartTime=now")
    stdout, stderr = work.communicate(timeout=SECONDS)
    assert work.returncode == 0, (stdout, stderr)
    answer = jobs.answer("done/array.sh")
    assert (answer["state"], answer["exit_code"]) == ("COMPLETED", 0)


def test_a_folder_is_worked_off_on_every_release(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    terminal = terminal_at(shared_gateway(slurm_release), tmp_path, identity_provider)
    jobs = Jobs(slurm_release, tmp_path / "jobs")
    jobs.drop("good.sh")
    jobs.drop("bad.sh", "exit 5")
    version = slurm_release.api_versions[0]
    body = submission(version, "#!/bin/sh\ntrue\n", name=f"{jobs.prefix}-json")
    if version == "v0.0.36":
        body["job"]["standard_out"] = body["job"].pop("standard_output")
    (jobs.folder / "job.json").write_text(json.dumps(body))
    done = terminal.type("run-folder", "--once", "--settle", "0", "-n", "3", str(jobs.folder))
    assert done.exit_code == 1, done
    assert jobs.answer("done/good.sh")["state"] == "COMPLETED", done
    assert jobs.answer("done/job.json")["exit_code"] == 0
    bad = jobs.answer("failed/bad.sh")
    assert (bad["state"], bad["exit_code"]) == ("FAILED", 5)
    shown = slurm_release.run("scontrol", "show", "job", str(bad["job_id"]))
    assert f"JobName={jobs.prefix}-bad.sh" in shown
    assert "UserId=alice(" in shown


def test_gateway_and_client_are_killed_in_turn_and_each_file_is_one_job(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
    jobs: Jobs,
) -> None:
    """The gateway as soon as a job is there, whose answer may or may not have been on its way."""
    site = gateway(one_slurm_release, {"idempotency": {"settle_seconds": SETTLE_SECONDS}})
    terminal = terminal_at(site, tmp_path, identity_provider)
    version = one_slurm_release.api_versions[0]
    names = [f"{number}.sh" for number in range(MANY)]
    for name in names:
        jobs.drop(name, "sleep 1")
    call = ("run-folder", "--settle", "0", "--api-version", version, str(jobs.folder))
    process = terminal.start(*call)
    try:
        for number, name in enumerate(names[:-1]):
            wait_until(lambda name=name: jobs.is_there(name), SECONDS, f"the job of {name}")  # type: ignore[misc]  # the loop's own
            if number % 2:
                process.kill()
                process.communicate()
                process = terminal.start(*call)
            else:
                site.process.stop(first=signal.SIGKILL)
                site.start()

        def is_done() -> bool:
            assert process.poll() is None, process.communicate()
            return all((jobs.folder / f"done/{name}").exists() for name in names)

        wait_until(is_done, SECONDS, "all files in done")
    finally:
        _end(process)
    assert list((jobs.folder / "running").iterdir()) == []
    for name in names:
        assert jobs.known_anywhere(name) == [str(jobs.answer(f"done/{name}")["job_id"])]


def _end(process: subprocess.Popen[str]) -> None:
    """Not by SIGINT, which whoever was started in the background may ignore. What it said is for a test that fails."""
    process.terminate()
    sys.stdout.writelines(process.communicate(timeout=SECONDS))


def test_a_gateway_that_is_away_is_waited_for(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
    jobs: Jobs,
) -> None:
    site = gateway(one_slurm_release)
    terminal = terminal_at(site, tmp_path, identity_provider)
    site.stop()
    jobs.drop("job.sh")
    version = one_slurm_release.api_versions[0]
    call = ("run-folder", "--once", "--settle", "0", "--api-version", version, str(jobs.folder))
    process = terminal.start(*call)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "waits: " in line
        site.start()
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, (stdout, stderr)
    assert jobs.answer("done/job.sh")["state"] == "COMPLETED"
