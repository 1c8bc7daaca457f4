"""What people mistype and what breaks meanwhile: one sentence, what to do, the right exit code, and nothing twice."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.client.profiles import Profile, Profiles
from gateway.client.submit.script import MAXIMUM_BYTES
from gateway.client.token_store import FileStore, Tokens
from gateway.client.trouble import Exit
from tests.client_world import Heard, ScriptedGateway, Told, running_gateway, scripted_gateway

SUBMIT = "POST /slurm/v0.0.42/job/submit"
HTML = Told(200, b"<html>Please log in</html>", "text/html")
PROGRAM = Path(sys.executable).with_name("slurm-gateway")


@pytest.fixture
def site() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


def environment(url: str, home: Path) -> dict[str, str]:
    return {
        "SLURM_GATEWAY_HOME": str(home),
        "SLURM_GATEWAY_URL": url,
        "SLURM_GATEWAY_TOKEN": "token-of-a-test",
        "SLURM_GATEWAY_API_VERSION": "v0.0.42",
        "SLURM_GATEWAY_CHDIR": "/home/alice",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def typed(url: str, home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, words, env=environment(url, home))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["jobs", "--nope"], Exit.WRONG_CALL, "No such option"),
        (["submit", "--nope", "job.sh"], Exit.WRONG_CALL, "--nope"),
        (["submit", "--time=soon", "--wrap", "x"], Exit.WRONG_CALL, "--time=soon"),
        (["submit", "absent.sh"], Exit.NO_INPUT, "absent.sh cannot be read"),
        (["nope"], Exit.WRONG_CALL, "No such command"),
        (["watch", "all"], Exit.WRONG_CALL, "is no job id"),
        (["run-folder", "absent"], Exit.NO_INPUT, "absent cannot be read"),
        (["run-folder", "-n", "0", "."], Exit.WRONG_CALL, "--at-once"),
        (["jobs", "--gateway", "http://slurm.example.org"], Exit.WRONG_CALL, "not encrypted"),
        (["jobs", "--ca-file", "absent.pem"], Exit.NO_INPUT, "absent.pem"),
        (["slurm-token", "--shell", "csh"], Exit.WRONG_CALL, "csh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_typed_wrong_is_sent_to_nobody(  # noqa: PLR0917 (fixtures and columns)
    site: ScriptedGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: Exit,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed(site.url, tmp_path / "home", *words)
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert site.heard == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("job.sh", b"#!/bin/sh\n" + b"#" * 5_000_000, f"takes scripts of up to {MAXIMUM_BYTES}"),
        ("job.sh", b"#!/bin/sh\r\ntrue\r\n", "DOS line breaks"),
        ("job.sh", b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark"),
        ("job.sh", b"true\n", "does not begin with #!"),
        ("job.sh", b"", "does not begin with #!"),
        ("job.sh", b"#!/bin/sh\n\xff\n", "line 2: it is not UTF-8"),
        ("job.sh", b"#!/bin/sh\n#SBATCH --nope\n", "line 2"),
        ("job.sh", b"#!/bin/sh\n#SBATCH -J 'x\n", "quotation mark"),
        ("job.json", b"[1, 2]", "describes no job"),
        ("job.json", b'{"script": "x"}', "describes no job"),
        ("job.json", b'{"job": {},}', "is no JSON"),
        ("job.json", b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (
            "job.json",
            b'{"job": {}, "script": "' + b"#" * 5_000_000 + b'"}',
            "bytes; the client takes no more",
        ),
    ],
    ids=[
        "5 MB",
        "CRLF",
        "BOM",
        "no shebang",
        "empty",
        "no text",
        "unknown option",
        "open quotation",
        "a list",
        "no job",
        "no JSON",
        "UTF-16",
        "5 MB of JSON",
    ],
)
def test_a_file_that_is_no_job_is_sent_to_nobody(
    site: ScriptedGateway, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = typed(site.url, tmp_path / "home", "submit", str(tmp_path / name))
    assert done.exit_code == Exit.UNFIT_DATA, done.output
    assert says in done.stderr
    assert "→" in done.stderr, "what to do is missing"
    assert site.heard == []


class Slow(ScriptedGateway):
    """Says nothing until it is told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_over = threading.Event()

    def reply(self, heard: Heard) -> Told | None:
        self.is_over.wait(30)
        return None


def test_a_gateway_that_is_away_or_slow_is_said_to_be(tmp_path: Path) -> None:
    with scripted_gateway() as gone:
        url = gone.url
    away = typed(url, tmp_path, "jobs")
    assert away.exit_code == Exit.UNAVAILABLE
    assert "cannot be reached" in away.stderr
    assert "check the address" in away.stderr
    with running_gateway(Slow) as slow:
        late = typed(slow.url, tmp_path, "jobs", "--timeout", "0.2")
        slow.is_over.set()
    assert late.exit_code == Exit.UNAVAILABLE
    assert "no answer in time" in late.stderr
    assert "--timeout" in late.stderr


@pytest.mark.parametrize("words", [["jobs"], ["job", "7"], ["nodes"], ["whoami"], ["slurm-token"]])
def test_a_page_in_place_of_an_answer_is_said_to_be_one(
    site: ScriptedGateway, tmp_path: Path, words: list[str]
) -> None:
    for asked in ("/slurm/v0.0.42/jobs", "/slurm/v0.0.42/job/7", "/slurm/v0.0.42/nodes"):
        site.tell(f"GET {asked}", HTML)
    site.tell("GET /gateway/user", HTML)
    site.tell("POST /gateway/slurm-token", HTML)
    done = typed(site.url, tmp_path, *words)
    assert (done.exit_code, done.stdout) == (Exit.UNREADABLE_ANSWER, "")
    assert "with text/html, which no gateway does" in done.stderr
    assert "login page" in done.stderr


def test_a_page_in_place_of_an_answer_to_a_submission_leaves_a_key_to_ask_again_with(
    site: ScriptedGateway, tmp_path: Path
) -> None:
    site.tell(SUBMIT, HTML)
    done = typed(site.url, tmp_path, "submit", "--wrap", "true")
    assert done.exit_code == Exit.UNDECIDED
    (heard,) = site.heard
    key = heard.headers["idempotency-key"].strip('"')
    assert f"--idempotency-key {key}" in done.stderr


def signed_in(site: ScriptedGateway, home: Path) -> None:
    """By a refresh token; the access token has to be renewed for each request."""
    profiles = Profiles(home)
    token_endpoint = f"{site.url}/token"
    profile = Profile("p", site.url, "device", site.url, "cli", token_endpoint=token_endpoint)
    profiles.keep(profile)
    FileStore(profiles.folder_of("p") / "tokens.json").write(Tokens("a", "r0", 1.0))


def renewed(number: int) -> Told:
    tokens = {"access_token": f"a{number}", "refresh_token": f"r{number}", "expires_in": 1}
    return Told(200, {**tokens, "token_type": "Bearer"})


def test_a_sign_in_that_ends_while_a_job_is_waited_for_leaves_the_job_and_says_how_to_go_on(
    site: ScriptedGateway, tmp_path: Path
) -> None:
    signed_in(site, tmp_path)
    over = Told(400, {"error": "invalid_grant"})
    site.tell("POST /token", renewed(1), renewed(2), over)
    site.tell(SUBMIT, Told(200, {"job_id": 7}))
    site.tell(
        "GET /slurm/v0.0.42/job/7", Told(200, {"jobs": [{"job_id": 7, "job_state": ["RUNNING"]}]})
    )
    words = ["submit", "--wait", "--api-version", "v0.0.42", "-D", "/x", "--wrap", "true"]
    environ = {"SLURM_GATEWAY_HOME": str(tmp_path)}
    done = CliRunner().invoke(main, words, env=environ)
    assert done.exit_code == Exit.NOT_PERMITTED, done.output
    assert "Submitted batch job 7" in done.stdout
    assert "Job 7 goes on: slurm-gateway watch 7" in done.stderr
    assert "slurm-gateway login" in done.stderr
    assert site.targets().count(SUBMIT) == 1


def test_a_task_that_slurmctld_forgets_before_the_last_one_ends_keeps_its_code(
    site: ScriptedGateway, tmp_path: Path
) -> None:
    def tasks(*states: tuple[int, str, int]) -> Told:
        jobs = [
            {
                "job_id": 7 + task,
                "array_job_id": 7,
                "array_task_id": task,
                "job_state": state,
                "exit_code": code << 8,
            }
            for task, state, code in states
        ]
        return Told(200, {"jobs": jobs})

    first = tasks((1, "FAILED", 3), (2, "RUNNING", 0))
    site.tell("GET /slurm/v0.0.42/job/7", first, tasks((2, "COMPLETED", 0)))
    assert typed(site.url, tmp_path, "watch", "7").exit_code == 3


def test_two_terminals_that_renew_at_once_renew_once(site: ScriptedGateway, tmp_path: Path) -> None:
    """As processes of their own, as terminals are; the provider would end the sign-in at a second use."""
    signed_in(site, tmp_path)
    tokens = {"access_token": "a1", "refresh_token": "r1", "expires_in": 900}
    lasting = Told(200, {**tokens, "token_type": "Bearer"})
    site.tell("POST /token", lasting, Told(400, {"error": "invalid_grant"}))
    site.tell("GET /slurm/v0.0.42/jobs", Told(200, {"jobs": []}))
    environ = {
        "PATH": os.environ["PATH"],
        "SLURM_GATEWAY_HOME": str(tmp_path),
        "SLURM_GATEWAY_API_VERSION": "v0.0.42",
    }
    command = [str(PROGRAM), "jobs", "--json"]
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0, 0], told
    assert site.targets().count("POST /token") == 1


def login(site: ScriptedGateway, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """With a token from a file, on a machine whose disk takes nothing more."""
    metadata = {"resource": site.url, "authorization_servers": ["https://idp.example.org"]}
    site.tell("GET /.well-known/oauth-protected-resource", Told(200, metadata))
    token = home.parent / "token"
    token.write_text("x")
    command = [str(PROGRAM), "login", site.url, "--token-file", str(token), *words]
    return subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command],
        env={"PATH": os.environ["PATH"], "SLURM_GATEWAY_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_disk_that_takes_nothing_is_said_with_the_file(
    site: ScriptedGateway, tmp_path: Path
) -> None:
    done = login(site, tmp_path / "home", "--json")
    assert done.returncode == Exit.LOCAL_FILE, done
    told = json.loads(done.stderr)
    assert "profile.json cannot be written" in told["error"]
    assert "SLURM_GATEWAY_HOME" in told["remedy"]
    assert not list((tmp_path / "home").rglob("*.json"))
