"""What the client prints on every real release, beside what Slurm's own commands print there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import LabError, wait_until
from lab.slurm import SlurmRelease
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import StartGateway

FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
NAMES_NO_USERS = "20.11"
KEEPS_NO_EXIT_CODES = ("20.11", "22.05")


@pytest.fixture
def site(slurm_release: SlurmRelease, shared_gateway: StartGateway) -> GatewayProcess:
    return shared_gateway(slurm_release)


@pytest.fixture
def terminal(tmp_path: Path, site: GatewayProcess, identity_provider: IdentityProvider) -> Terminal:
    """Somebody with a token from elsewhere."""
    token = identity_provider.token_for("alice")
    environment = {"SLURM_GATEWAY_URL": site.url, "SLURM_GATEWAY_TOKEN": token}
    return Terminal(tmp_path / "home", site.ca_file, environment)


class Jobs:
    """Jobs of alice that are gone after the test."""

    def __init__(self, release: SlurmRelease) -> None:
        self.release = release
        self.made: list[str] = []

    def submit(self, *arguments: str, script: str = "sleep 300") -> str:
        options = ("--parsable", "-D", FOLDER, "-o", "/dev/null")
        wrap = ("--wrap", script)
        out = self.release.run("sbatch", *options, *arguments, *wrap, user="alice")
        self.made.append(out.strip().split(";")[0])
        return self.made[-1]

    def tasks(self, array: str) -> list[str]:
        """8_1=RUNNING, 8_[2-5]=PENDING."""
        shown = ("squeue", "-h", "-t", "all", "-j", array, "-o", "%i=%T")
        return self.release.run(*shown).split()

    def state(self, job_id: str) -> str:
        return self.release.run("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").strip()


@pytest.fixture
def jobs(slurm_release: SlurmRelease) -> Iterator[Jobs]:
    made = Jobs(slurm_release)
    yield made
    if made.made:
        slurm_release.run("scancel", *made.made)


def test_the_queue_is_squeues(terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease) -> None:
    """Column by column: a held job, a running one, an array, and one that waits for another."""
    held = jobs.submit("-H", "-J", "held one", "-t", "2-01:00:00")
    running = jobs.submit("-J", "running", "-n", "2")
    array = jobs.submit("-H", "-J", "array", "--array", "1-5:2%2")
    waits = jobs.submit("-J", "waits", "-d", f"afterok:{held}")
    wait_until(lambda: jobs.state(running) == "RUNNING", 120, "the running job")
    listed = f"{held},{running},{array},{waits}"
    columns = "JOBID,PARTITION,NAME,ST,STATE,TIME_LIMIT,NODES,CPUS,NODELIST(REASON)"
    done = terminal.type("jobs", "-j", listed, "-O", columns, "--json")
    assert done.exit_code == 0, done.stderr
    shown = terminal.type("jobs", "-j", listed, "-O", columns, "--noheader")
    native = slurm_release.run("squeue", "-h", "-j", listed, "-o", "%i|%P|%j|%t|%T|%l|%D|%C|%R")
    ours = sorted(" ".join(line.split()) for line in shown.stdout.splitlines())
    theirs = sorted(" ".join(line.replace("|", " ").split()) for line in native.splitlines())
    assert ours == theirs
    assert {one["name"] for one in done.json()} == {"held one", "running", "array", "waits"}


def test_the_time_of_a_job_that_was_suspended_is_squeues(
    terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease
) -> None:
    """While it does not run, so that both say the same however late they are asked."""
    job_id = jobs.submit(script="sleep 300")
    wait_until(lambda: jobs.state(job_id) == "RUNNING", 20, "the running job")
    slurm_release.run("scontrol", "update", f"JobId={job_id}", "TimeLimit=UNLIMITED")

    def compare() -> None:
        shown = terminal.type("jobs", "-j", job_id, "-O", "STATE,TIME,TIME_LIMIT", "--noheader")
        native = slurm_release.run("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T %M %l")
        assert shown.stdout.split() == native.split(), shown.stderr

    for change in ("suspend", "resume", "suspend"):
        time.sleep(2)
        slurm_release.run("scontrol", change, job_id)
        if change == "suspend":
            compare()
    slurm_release.run("scancel", job_id)
    wait_until(lambda: jobs.state(job_id) == "CANCELLED", 20, "the end of the job")
    compare()


def test_filters_choose_what_squeues_choose(
    terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease
) -> None:
    held = jobs.submit("-H", "-J", "chosen")
    jobs.submit("-H", "-J", "other")
    me = "1001" if slurm_release.release.slurm == NAMES_NO_USERS else "alice"
    for arguments in (
        ["-u", me, "-n", "chosen"],
        ["-n", "chosen", "-t", "PD"],
        ["-n", "chosen", "-p", "debug", "-A", "research"],
        ["-j", held],
    ):
        found = terminal.type("jobs", "--json", *arguments)
        assert held in {str(one["job_id"]) for one in found.json()}, found.stderr
        assert "other" not in {one["name"] for one in found.json()}
    for arguments in (["-u", "0"], ["-p", "gpu"], ["-A", "none"], ["-n", "chosen", "-t", "R"]):
        assert terminal.type("jobs", "--json", *arguments).json() == []
    own = terminal.type("jobs", "--me", "-n", "chosen", "--json", SLURM_GATEWAY_USER=me)
    assert [str(one["job_id"]) for one in own.json()] == [held]


def test_a_job_is_described(terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease) -> None:
    held = jobs.submit("-H", "-J", "described", "--comment", "a note", "-t", "90")
    done = terminal.type("job", held)
    assert done.exit_code == 0, done.stderr
    native = slurm_release.run("scontrol", "show", "job", held)
    for pair in ("JobName=described", "JobState=PENDING", "TimeLimit=01:30:00", "WorkDir=/tmp"):
        assert pair in native
        assert pair.replace("=01:30:00", "=1:30:00") in done.stdout
    assert "Comment=a note" in done.stdout
    assert terminal.type("describe-job", held).stdout.splitlines()[0] in done.stdout
    unknown = terminal.type("job", "999999")
    assert unknown.exit_code == 1
    assert "Slurm" in unknown.stderr


def test_nodes_and_partitions_are_sinfos(terminal: Terminal, slurm_release: SlurmRelease) -> None:
    done = terminal.type("partitions")
    assert done.exit_code == 0, done.stderr
    heading, row = (line.split() for line in done.stdout.splitlines())
    native = slurm_release.run("sinfo").splitlines()
    assert heading == native[0].split()
    theirs = native[1].split()
    assert row[0].rstrip("*") == theirs[0].rstrip("*")
    assert row[2].zfill(7) == theirs[2].zfill(7)
    assert (row[3], row[5]) == (theirs[3], theirs[5])
    node = terminal.type("nodes")
    theirs = slurm_release.run("sinfo", "-h", "-N", "-o", "%N %c %z %m %d %w %f %G").split()
    ours = node.stdout.splitlines()[1].split()
    assert [ours[0], *ours[3:10]] == theirs
    has_flags = slurm_release.release.slurm != "20.11"
    more = ",mixed,comp" if has_flags else ""
    chosen = terminal.type("nodes", "-n", f"{ours[0]},node[1-3]", "-t", "idle,allocated" + more)
    assert chosen.stdout.splitlines()[1].split()[0] == ours[0]
    assert terminal.type("nodes", "-t", "RUNNING").exit_code == 2
    assert terminal.type("nodes", "-t", "drain").exit_code == (0 if has_flags else 2)


def test_an_owner_cancels_and_nobody_else_does(
    terminal: Terminal, jobs: Jobs, identity_provider: IdentityProvider
) -> None:
    """Also on 24.11 and newer, which answer 200 to a cancel that they refuse."""
    one, two = jobs.submit("-H", "-J", "cancelled"), jobs.submit("-H", "-J", "cancelled")
    bob = {"SLURM_GATEWAY_TOKEN": identity_provider.token_for("bob")}
    refused = terminal.type("cancel", one, **bob)
    assert refused.exit_code == 1, refused
    assert f"job {one}" in refused.stderr
    assert jobs.state(one) == "PENDING"
    done = terminal.type("cancel", one)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert jobs.state(one) == "CANCELLED"
    assert terminal.type("cancel", "-n", "cancelled", "-t", "PENDING").exit_code == 0
    assert jobs.state(two) == "CANCELLED"


def test_a_refused_cancel_is_seen_in_every_api_version(
    terminal: Terminal, jobs: Jobs, identity_provider: IdentityProvider, slurm_release: SlurmRelease
) -> None:
    """v0.0.40 says nothing at all of it."""
    held = jobs.submit("-H")
    bob = {"SLURM_GATEWAY_TOKEN": identity_provider.token_for("bob")}
    for version in slurm_release.api_versions:
        refused = terminal.type("cancel", held, "--api-version", version, **bob)
        assert refused.exit_code == 1, (version, refused)
        assert jobs.state(held) == "PENDING"


def test_what_waits_of_an_array_is_cancelled_and_what_runs_goes_on(
    terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease
) -> None:
    """Slurm takes an array's number for all of it; v0.0.36 has no other id for what waits, and refuses."""
    array = jobs.submit("-J", "in-parts", "--array", "1-5%1")
    wait_until(lambda: f"{array}_1=RUNNING" in jobs.tasks(array), 20, "its first task")
    if slurm_release.api_versions[0] == "v0.0.36":
        refused = terminal.type("cancel", "-n", "in-parts", "-t", "PENDING")
        assert (refused.exit_code, len(jobs.tasks(array))) == (1, 2), refused
    else:
        assert terminal.type("job", f"{array}_3").exit_code == 0
        one = terminal.type("cancel", f"{array}_3", "-n", "in-parts")
        assert (one.exit_code, one.output) == (0, ""), one
        waiting = f"{array}_[2,4-5%1]=PENDING"
        assert sorted(jobs.tasks(array)) == sorted([f"{array}_1=RUNNING", waiting])
        done = terminal.type("cancel", "-n", "in-parts", "-t", "PENDING")
        assert (done.exit_code, done.output) == (0, "")
        assert f"{array}_1=RUNNING" in jobs.tasks(array)
        assert not [one for one in jobs.tasks(array) if "PENDING" in one]
    done = terminal.type("cancel", "-n", "in-parts")
    assert (done.exit_code, done.output) == (0, "")
    assert not [one for one in jobs.tasks(array) if "PENDING" in one or "RUNNING" in one]
    again = terminal.type("cancel", array)
    assert (again.exit_code, again.output) == (0, ""), again


def test_a_signal_reaches_the_job(terminal: Terminal, jobs: Jobs) -> None:
    running = jobs.submit(script="sleep 300")
    wait_until(lambda: jobs.state(running) == "RUNNING", 120, "the running job")
    assert terminal.type("cancel", "-s", "KILL", running).exit_code == 0
    wait_until(lambda: jobs.state(running) != "RUNNING", 120, "its end")


def test_a_job_is_watched_to_its_end_and_its_code_is_ours(terminal: Terminal, jobs: Jobs) -> None:
    held = jobs.submit("-H", script="sleep 1; exit 7")
    process = terminal.start("watch", held)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "PENDING (JobHeldUser)" in first
    jobs.release.run("scontrol", "release", held)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 7, stderr
    assert "FAILED" in stdout.splitlines()[-1]
    assert "exit code 7:0" in stdout
    again = terminal.type("watch", held, "--json")
    assert again.exit_code == 7
    assert json.loads(again.stdout)["state"] == "FAILED"


def test_a_job_that_is_ending_is_watched_until_it_has_ended(terminal: Terminal, jobs: Jobs) -> None:
    """For the three seconds of KillWait it is COMPLETING, and old API versions give no other word.

    A shell beside what it waits for might be killed after it, and end with a code of its own.
    """
    stubborn = jobs.submit(script="trap '' TERM; exec sleep 300")
    wait_until(lambda: jobs.state(stubborn) == "RUNNING", 120, "the running job")
    process = terminal.start("watch", stubborn)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "RUNNING" in first
    jobs.release.run("scancel", stubborn)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 1, stderr
    *before, last = [first, *stdout.splitlines()]
    assert "CANCELLED" in last
    assert not [line for line in before if "exit code" in line]
    assert any("COMPLETING" in line for line in before)


def test_history_is_saccts(terminal: Terminal, jobs: Jobs, slurm_release: SlurmRelease) -> None:
    failed = jobs.submit("-J", "for-history", script="exit 3")
    done = jobs.submit("-J", "for-history", script="true")

    def native() -> list[list[str]]:
        wanted = "jobid,jobname,partition,account,alloccpus,state,exitcode"
        out = slurm_release.run("sacct", "-n", "-P", "-j", f"{failed},{done}", "-o", wanted)
        return sorted(line.split("|") for line in out.splitlines())

    def is_kept() -> bool:
        """slurmdbd may hear of an end before it hears of the job: it calls that an allocation then."""
        rows = native()
        ended = not {"PENDING", "RUNNING"} & {row[5] for row in rows}
        return len(rows) == 4 and ended and "allocation" not in {row[1] for row in rows}

    def expected() -> list[list[str]]:
        rows = native()
        if slurm_release.release.slurm in KEEPS_NO_EXIT_CODES:
            rows = [[*row[:6], "" if row[5] == "FAILED" else row[6]] for row in rows]
        return rows

    def ours() -> list[list[str]]:
        """A slurmctld that was killed gives its last numbers again: then there are others of that number."""
        found = terminal.type("history", "-j", f"{failed},{done}", "--json")
        assert found.exit_code == 0, found.stderr
        keys = ("shown_id", "name", "partition", "account", "cpus", "state", "exit_code")
        rows = [[str(one[key]) for key in keys] for one in found.json()]
        return sorted(row for row in rows if row[1] in ("for-history", "batch"))

    wait_until(is_kept, 240, "the accounting")
    with suppress(LabError):  # slurmrestd 20.11 hears of it later than sacct
        wait_until(lambda: ours() == expected(), 120, "slurmrestd")
    assert ours() == expected()

    def is_listed() -> bool:
        """slurmdbd lists a job of this very second with the next one."""
        shown = terminal.type("history", "--name", "for-history", "-X", "-S", "now-1hour")
        return {failed, done} <= {line.split()[0] for line in shown.stdout.splitlines()[1:]}

    wait_until(is_listed, 120, "both in the list")


@pytest.mark.parametrize(
    "arguments",
    [["jobs", "-t", "x"], ["jobs", "-O", "x"], ["job", "../diag"], ["cancel"], ["cancel", "1..2"]],
    ids=" ".join,
)
def test_a_wrong_call_asks_nobody(
    terminal: Terminal, site: GatewayProcess, arguments: list[str]
) -> None:
    before = len(site.audit_records())
    done = terminal.type(*arguments)
    assert done.exit_code == 2, done
    assert "Error" in done.stderr
    assert len(site.audit_records()) == before
