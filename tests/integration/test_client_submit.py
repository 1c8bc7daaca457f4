"""`submit` on every real release, from a script to the exit code of the job; and what breaks on the way."""

from __future__ import annotations

import json
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import StartGateway

FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
WITH_ARGUMENTS = ("24.11", "26.05")


@pytest.fixture
def site(slurm_release: SlurmRelease, shared_gateway: StartGateway) -> GatewayProcess:
    return shared_gateway(slurm_release)


def terminal_at(site: GatewayProcess, folder: Path, provider: IdentityProvider) -> Terminal:
    environment = {
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_TOKEN": provider.token_for("alice"),
        "SLURM_GATEWAY_CHDIR": FOLDER,
    }
    return Terminal(folder / "home", site.ca_file, environment)


@pytest.fixture
def terminal(tmp_path: Path, site: GatewayProcess, identity_provider: IdentityProvider) -> Terminal:
    return terminal_at(site, tmp_path, identity_provider)


@pytest.fixture
def output(slurm_release: SlurmRelease) -> Iterator[str]:
    """Where a job may write, as the job sees it."""
    path = f"{FOLDER}/slurm-gateway-{uuid.uuid4().hex}"
    yield path
    slurm_release.path_of(path).unlink(missing_ok=True)


def test_a_script_runs_to_its_end_and_its_code_is_ours(
    terminal: Terminal, tmp_path: Path, output: str, slurm_release: SlurmRelease
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        f"#!/bin/bash\n#SBATCH -J mine -t 5\n#SBATCH -o {output}\necho $WORD by $(id -un)\nexit 4\n"
    )
    done = terminal.type("submit", "--wait", "--export=WORD=written", str(script))
    assert done.exit_code == 4, done
    assert done.stdout.startswith("Submitted batch job ")
    assert "FAILED" in done.stdout.splitlines()[-1]
    assert slurm_release.path_of(output).read_text() == "written by alice\n"
    assert slurm_release.owner_of(output) == "alice"


def test_arguments_reach_the_script_or_are_refused(
    terminal: Terminal, tmp_path: Path, output: str, slurm_release: SlurmRelease
) -> None:
    """slurmrestd 22.05 ends when it is given them."""
    script = tmp_path / "job.sh"
    script.write_text(f'#!/bin/sh\n#SBATCH -o {output}\necho "$1|$2"\n')
    done = terminal.type("submit", "--wait", str(script), "one", "two words")
    if slurm_release.release.slurm in WITH_ARGUMENTS:
        assert done.exit_code == 0, done
        assert slurm_release.path_of(output).read_text() == "one|two words\n"
    else:
        assert done.exit_code == 65
        assert "takes no arguments" in done.stderr
    assert slurm_release.serves_reads()


def test_json_and_wrapped_commands_and_what_others_print(
    terminal: Terminal, tmp_path: Path, slurm_release: SlurmRelease
) -> None:
    version = slurm_release.api_versions[0]
    file = tmp_path / "job.json"
    body = submission(version, "#!/bin/sh\ntrue\n", hold=True, name="as-json")
    if version == "v0.0.36":
        body["job"]["standard_out"] = body["job"].pop("standard_output")
    file.write_text(json.dumps(body))
    one = terminal.type("submit", "--parsable", str(file))
    assert one.exit_code == 0, one
    assert one.stdout.strip().isdigit()
    file.write_text(json.dumps({"jobs": body["job"], "script": body["script"]}))
    two = terminal.type("submit-job", "--json", str(file))
    assert two.exit_code == 0, two
    assert "Note:" in two.stderr
    wrapped = terminal.type("submit", "-H", "-J", "as-wrap", "--wrap", "hostname")
    assert wrapped.exit_code == 0, wrapped
    ids = [one.stdout.strip(), str(two.json()["job_id"]), wrapped.stdout.split()[-1]]
    names = slurm_release.run("squeue", "-h", "-j", ",".join(ids), "-o", "%j").split()
    assert sorted(names) == ["as-json", "as-json", "as-wrap"]
    assert terminal.type("cancel", *ids).exit_code == 0


def test_the_same_key_submits_nothing_twice(
    terminal: Terminal, slurm_release: SlurmRelease
) -> None:
    name = f"once-{uuid.uuid4().hex[:8]}"
    call = ["submit", "--json", "--idempotency-key", name, "-H", "-J", name, "--wrap", "true"]
    first, second = terminal.type(*call), terminal.type(*call)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert (first.json()["replayed"], second.json()["replayed"]) == (False, True)
    assert slurm_release.run("squeue", "-h", "-n", name, "-o", "%i").split() == [
        str(first.json()["job_id"])
    ]
    terminal.type("cancel", str(first.json()["job_id"]))


def test_slurms_refusal_is_an_answer(terminal: Terminal) -> None:
    done = terminal.type("submit", "-p", "nowhere", "--wrap", "true")
    assert done.exit_code == 1
    assert "partition" in done.stderr.lower()


def test_dry_run_sends_nothing(terminal: Terminal, slurm_release: SlurmRelease) -> None:
    name = f"dry-{uuid.uuid4().hex[:8]}"
    done = terminal.type("submit", "--dry-run", "-J", name, "-t", "5", "--wrap", "true")
    assert done.exit_code == 0, done
    assert done.json()["job"]["name"] == name
    assert slurm_release.run("squeue", "-h", "-n", name) == ""


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 66, "cannot be read"),
        (b"echo\n", 65, "does not begin with #!"),
        (b"#!/bin/sh\r\n", 65, "DOS line breaks"),
        (b"\xef\xbb\xbf#!/bin/sh\n", 65, "byte order mark"),
        (b"#!/bin/sh\n#SBATCH --tiem=5\n", 65, "line 2"),
        (b"#!/bin/sh\n" + b"#" * 5_000_000, 65, "bytes; Slurm takes"),
        (b'{"job": 7}', 65, "describes no job"),
    ],
    ids=["absent", "no shebang", "CRLF", "BOM", "unknown option", "5 MB", "no job"],
)
def test_bad_input_is_one_sentence_and_reaches_nobody(  # noqa: PLR0917 (fixtures and columns)
    one_slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
    content: bytes | None,
    code: int,
    says: str,
) -> None:
    site = shared_gateway(one_slurm_release)
    script = tmp_path / "job.sh"
    if content is not None:
        script.write_bytes(content)
    before = len(site.audit_records())
    done = terminal_at(site, tmp_path, identity_provider).type("submit", str(script))
    assert done.exit_code == code, done
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(site.audit_records()) == before


def test_a_gateway_that_is_killed_and_comes_back_submits_once_and_is_waited_for(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    """While the submission asks again, and once more while the job is followed."""
    site = gateway(one_slurm_release)
    terminal = terminal_at(site, tmp_path, identity_provider)
    name = f"killed-{uuid.uuid4().hex[:8]}"
    site.stop()
    version = one_slurm_release.api_versions[0]
    call = ("submit", "--wait", "--api-version", version, "-J", name)
    process = terminal.start(*call, "--wrap", "sleep 6; exit 3")
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "with the same key" in said
    site.start()

    def runs() -> bool:
        return bool(one_slurm_release.run("squeue", "-h", "-t", "R", "-n", name).strip())

    wait_until(runs, 120, "the job")
    site.process.stop(first=signal.SIGKILL)
    site.start()
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 3, (stdout, said + stderr)
    wanted = ("squeue", "-h", "-t", "all", "-o", "%A", "-n", name)
    assert len(one_slurm_release.run(*wanted).split()) == 1


def test_a_sign_in_that_ends_in_the_middle_of_a_wait_is_a_sentence(
    one_slurm_release: SlurmRelease, shared_gateway: StartGateway, tmp_path: Path
) -> None:
    """The job goes on, and the message says how to follow it."""
    site = shared_gateway(one_slurm_release)
    terminal = Terminal(tmp_path / "home", site.ca_file)
    assert terminal.log_in(site.url, "alice", "--browser").exit_code == 0
    process = terminal.start("submit", "--wait", "-D", FOLDER, "--wrap", "sleep 20")
    assert process.stdout is not None
    job_id = process.stdout.readline().split()[-1]
    (file,) = terminal.home.rglob("tokens.json")
    content = json.loads(file.read_text())
    ended = file.with_name("ended")
    ended.write_text(json.dumps({**content, "refresh_token": "ended", "expires_at": 1.0}))
    ended.replace(file)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 77, stderr
    assert "Your sign-in is over" in stderr
    assert f"slurm-gateway watch {job_id}" in stderr
    one_slurm_release.run("scancel", job_id)
    shutil.rmtree(terminal.home)
