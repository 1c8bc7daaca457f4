"""An officer's audit on a real Slurm: init, serve, requests, stop, verify; then tampering, and who did what."""

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import Answer, GatewayProcess, audit_sink, settings_for
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.processes import CLEAN_ENVIRONMENT, wait_until
from lab.slurm import SlurmRelease
from lab.submission import submission
from lab.toml_text import merged
from tests.forked import launch, run_forked

ROTATE_BYTES = 20_000


@dataclass
class Officer:
    """A gateway that was made with `audit init`, the key that was carried away, and what was asked."""

    gateway: GatewayProcess
    key: Path
    tokens: dict[str, str]
    version: str
    asked: dict[str, str] = field(default_factory=dict)
    """What was asked -> the request id that the client was told."""
    job: int = 0

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of `slurm-gateway audit`."""
        return run_forked(["audit", *arguments], CLEAN_ENVIRONMENT)

    def configured(self, command: str, *arguments: str) -> Any:
        """What a command that reads the configuration prints as JSON, a document or a list of rows."""
        done = self.run(
            command, "--json", "--config", str(self.gateway.configuration_file), *arguments
        )
        assert done.stderr == ""
        if command == "report":
            return json.loads(done.stdout)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ask(self, what: str, user: str, method: str, path: str, body: object = None) -> Answer:
        answer = self.gateway.ask(
            method, f"/slurm/{self.version}{path}", self.tokens.get(user), body
        )
        self.asked[what] = answer.headers["X-Request-Id"]
        return answer

    @property
    def files(self) -> list[Path]:
        """The oldest first."""
        folder = self.gateway.folder
        return [*sorted(folder.glob("audit-*.jsonl*")), self.gateway.audit_file]

    def ids(self, *arguments: str) -> list[str]:
        """Of the requests that `audit search` finds."""
        return [row["request_id"] for row in self.configured("search", *arguments)]


@pytest.fixture
def officer(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> Iterator[Officer]:
    """Begun, and asked for this and that: a job submitted, read and cancelled, and two refusals."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    settings = settings_for(one_slurm_release, identity_provider, folder, free_port(), free_port())
    sink = audit_sink(folder / "audit.jsonl") | {"rotate_bytes": ROTATE_BYTES}
    process = GatewayProcess(folder, merged(settings, {"audit": {"sinks": [sink]}}))
    process.launch = launch
    process.write_configuration()
    tokens = {user: identity_provider.token_for(user) for user in ("alice", "bob")}
    made = Officer(process, tmp_path / "officer.key", tokens, one_slurm_release.api_versions[0])
    (folder / "state").mkdir(mode=0o700)
    begun = made.run(
        "init", "--config", str(process.configuration_file), "--key-file", str(made.key)
    )
    assert begun.returncode == 0, begun.stderr
    process.start()
    try:
        ask_for_this_and_that(made)
        yield made
    finally:
        process.stop()


def ask_for_this_and_that(officer: Officer) -> None:
    job = submission(officer.version, "#!/bin/sh\nsleep 60\n", hold=True)
    submitted = officer.ask("submit", "alice", "POST", "/job/submit", job)
    assert submitted.status == 200, submitted.body
    officer.job = int(submitted.json()["job_id"])
    assert officer.ask("read", "alice", "GET", f"/job/{officer.job}").status == 200
    assert officer.ask("list", "bob", "GET", "/jobs").status == 200
    assert officer.ask("nobody", "", "GET", "/jobs").status == 401
    assert officer.ask("unlisted", "alice", "DELETE", "/node/n1").status == 403
    assert officer.ask("cancel", "alice", "DELETE", f"/job/{officer.job}").status == 200


def until_rotated(officer: Officer, count: int) -> None:
    """More requests, until so many files are complete and compressed."""

    def is_done() -> bool:
        officer.ask("more", "bob", "GET", "/ping")
        return len(list(officer.gateway.folder.glob("audit-*.jsonl.gz"))) >= count

    wait_until(is_done, 60, "rotation")


def verified(officer: Officer, files: list[Path], *arguments: str) -> tuple[int, list[Any]]:
    """(exit code, findings) of `audit verify` with the key that was carried away."""
    done = officer.run(
        "verify", "--json", "--key-file", str(officer.key), *arguments, *map(str, files)
    )
    assert done.stderr == ""
    document = json.loads(done.stdout)
    return done.returncode, document["findings"]


Lines = list[bytes]
DONE: dict[str, tuple[Callable[[Lines], Lines], str, int]] = {
    "an edit": (
        lambda x: [*x[:4], x[4].replace(b'"verdict":"', b'"verdict":"X'), *x[5:]],
        "changed",
        5,
    ),
    "another user": (
        lambda x: [*x[:6], x[6].replace(b'"user":"bob"', b'"user":"eve"'), *x[7:]],
        "changed",
        7,
    ),
    "a deletion": (lambda x: x[:4] + x[5:], "missing", 5),
    "two lines in another order": (lambda x: [*x[:4], x[5], x[4], *x[6:]], "moved", 5),
    "an insertion": (
        lambda x: [*x[:5], x[4].replace(b'"verdict":"', b'"verdict":"X'), *x[5:]],
        "inserted",
        6,
    ),
}
"""(what was done to the lines of one file, how it is told, the line of the file that is named)."""


def test_everything_that_is_done_to_real_files_is_found_with_its_place(
    officer: Officer, tmp_path: Path
) -> None:
    until_rotated(officer, 2)
    for _ in range(6):
        officer.ask("more", "bob", "GET", "/ping")
    officer.gateway.stop()
    assert verified(officer, officer.files, "--from-start") == (0, [])
    for what, (change, kind, line) in DONE.items():
        for target in (officer.files[1], officer.files[-1]):  # compressed, and the current one
            folder = tmp_path / f"{what} in {target.name}"
            files = copied(officer.files, folder)
            file = folder / target.name
            lines = read(file)
            changed = change(lines)
            assert changed != lines, what
            write(file, changed)
            code, findings = verified(officer, files)
            assert code == 1, what
            named = [one for one in findings if one["kind"] == kind]
            assert [Path(one["file"]).name for one in named] == [file.name], (what, findings)
            assert named[0]["line"] == line, (what, findings)


def test_what_is_cut_off_is_found_with_a_head_that_was_kept_elsewhere(
    officer: Officer, tmp_path: Path
) -> None:
    officer.gateway.stop()
    head = json.loads(read(officer.gateway.audit_file)[-1])
    assert head["event"] == "head"
    kept = ("--head", f"{head['seq']}:{head['mac']}")
    files = copied(officer.files, tmp_path / "cut")
    write(files[-1], read(files[-1])[:-4])
    assert verified(officer, files)[0] == 0, "nobody can know without a head"
    code, findings = verified(officer, files, *kept)
    assert code == 1
    assert [one["kind"] for one in findings] == ["cut-off"]
    assert findings[0]["first_seq"] == head["seq"] - 3
    assert verified(officer, officer.files, *kept) == (0, [])


def copied(files: list[Path], folder: Path) -> list[Path]:
    folder.mkdir()
    made = []
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
        made.append(folder / file.name)
    return made


def read(file: Path) -> Lines:
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).splitlines(keepends=True)


def write(file: Path, lines: Lines) -> None:
    content = b"".join(lines)
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def test_requests_are_found_by_each_key_over_rotated_and_compressed_files(
    officer: Officer, tmp_path: Path
) -> None:
    until_rotated(officer, 1)
    officer.gateway.stop()
    asked, ids = officer.asked, officer.ids
    of_alice = [asked[what] for what in ("submit", "read", "unlisted", "cancel")]
    of_the_job = [asked[what] for what in ("submit", "read", "cancel")]
    (row,) = officer.configured("search", "--request", asked["submit"])
    (tmp_path / "token").write_text(officer.tokens["alice"])
    assert ids("--user", "alice") == of_alice
    assert ids("--subject", row["subject"]) == of_alice
    assert ids("--job", str(officer.job)) == of_the_job
    assert ids("--operation", "POST /slurm/*/job/submit") == [asked["submit"]]
    assert ids("--verdict", "denied") == [asked["nobody"], asked["unlisted"]]
    assert ids("--code", "token-missing") == [asked["nobody"]]
    assert ids("--token-file", str(tmp_path / "token")) == of_alice
    assert ids("--token-hash", row["token_hash"]) == of_alice
    assert ids("--user", "alice", "--until", row["time"]) == []
    assert ids("--user", "alice", "--since", row["time"]) == of_alice
    assert (row["status"], row["job_ids"]) == (200, [str(officer.job)])


def test_the_report_counts_what_was_asked(officer: Officer) -> None:
    officer.gateway.stop()
    document = officer.configured("report")
    assert document["requests"] == len(officer.asked)
    assert document["refusals_by_code"] == {"token-missing": 1, "operation-unlisted": 1}
    counted = {tuple(row.values()) for row in document["by_user_class_verdict"]}
    assert ("alice", "SUBMIT", "granted", 1) in counted
    assert {row["version"] for row in document["api_versions"]} == {officer.version}


def test_follow_shows_writes_of_a_user_as_they_end(officer: Officer) -> None:
    rows = officer.configured("follow", "--from-start", "--user", "alice", "--limit", "4")
    assert [row["request_id"] for row in rows] == [
        officer.asked[what] for what in ("submit", "read", "unlisted", "cancel")
    ]
