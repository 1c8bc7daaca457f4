"""What is asked of an audit, by the numbers of docs/security.md, of a whole running gateway."""

import hashlib
import hmac
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.edges.process_file import HASH_KEY_FILE
from lab.gateway import audit_sink
from tests.configurations import lines_in, token_for
from tests.integration.crowd import eventually
from tests.security.recorded_gateway import DIAG, SUBMIT, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import signed
from tests.serving import ENVIRONMENT, PROGRAM, READ, Asking, Served, SlowSlurm, served

JOB = b'{"script":"#!/bin/sh","job":{"name":"x"}}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


@pytest.fixture
def slow() -> Iterator[SlowSlurm]:
    slurm = SlowSlurm()
    yield slurm
    slurm.close()


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """The audit's folder and file as on a file system that turned read-only."""
    paths = [str(folder / "audit.jsonl"), str(folder)]
    subprocess.run(["chattr", "+i", *paths], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *paths], check=True)


def in_a_folder_of_its_own(tmp_path: Path, upstream: str) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path / "audit"
    folder.mkdir()
    sinks = [audit_sink(folder / "audit.jsonl")]
    return folder, {"forward": {"upstream": upstream}, "audit": {"sinks": sinks}}


def events(lines: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] in names]


def is_ready(gateway: Served) -> bool:
    return gateway.operations("/readyz")[0] == 200


def test_aud_1_a_record_before_and_one_after_and_the_first_outlives_a_kill(
    tmp_path: Path, slow: SlowSlurm
) -> None:
    with served(tmp_path, {"forward": {"upstream": slow.url}}) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slow.asked.wait(60)
        (begin,) = events(gateway.lines, "begin", "end")
        assert begin["event"] == "begin"
        gateway.stop(signal.SIGKILL)
        asking.wait()
        slow.go.set()
        gateway.start()
        assert gateway.ask(READ, token_for("alice"))[0] == 200
        (lost,) = events(gateway.lines, "lost-end")
        assert lost["request_id"] == begin["request_id"]
        first, second = events(gateway.lines, "begin", "end")[1:]
    assert (first["event"], second["event"]) == ("begin", "end")
    assert first["request_id"] == second["request_id"]


def test_aud_2_what_cannot_be_recorded_is_not_forwarded(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    sinks = [audit_sink(tmp_path / "audit/audit.jsonl")]
    with recorded_gateway(tmp_path, {"audit": {"sinks": sinks}}) as site:
        site.forget()
        with unwritable(tmp_path / "audit"):
            for answer in (site.ask(), site.ask(SUBMIT, method="POST", body=JOB)):
                assert (answer.status, site.code(answer)) == (503, "audit-unavailable")
                assert int(answer.headers["retry-after"]) > 0
            assert not is_ready(site.gateway)
        eventually(lambda: is_ready(site.gateway))
        assert site.ask().status == 200


def test_aud_2_an_end_that_cannot_be_written_stops_admission_and_comes_first_later(
    tmp_path: Path, slow: SlowSlurm
) -> None:
    """The answer is delivered all the same: a client that retries would run a job twice."""
    folder, changes = in_a_folder_of_its_own(tmp_path, slow.url)
    with served(tmp_path, changes) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slow.asked.wait(60)
        with unwritable(folder):
            slow.go.set()
            assert asking.wait()[0] == 200
            eventually(lambda: not is_ready(gateway))
            assert gateway.ask(READ, token_for("alice"))[0] == 503
        eventually(lambda: is_ready(gateway))
    names = [line["event"] for line in lines_in(folder / "audit.jsonl")]
    begun = names.index("begin")
    assert names[begun : begun + 2] == ["begin", "end"]
    assert "recovered" in names


def test_aud_3_a_sink_that_hangs_does_not_stall_another(tmp_path: Path, slow: SlowSlurm) -> None:
    """Best effort, and nobody reads its socket."""
    slow.go.set()
    _, changes = in_a_folder_of_its_own(tmp_path, slow.url)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unread:
        unread.bind(str(tmp_path / "log"))
        changes["audit"]["sinks"].append({"type": "syslog", "address": f"unix:{tmp_path / 'log'}"})
        changes["limit"] = {"rates": {"read": "1000/second"}}
        with served(tmp_path, changes) as gateway:
            for _ in range(60):
                began = time.monotonic()
                assert gateway.ask(READ, token_for("alice"))[0] == 200
                assert time.monotonic() - began < 5
            assert is_ready(gateway)
    assert len(events(lines_in(tmp_path / "audit/audit.jsonl"), "end")) == 60


SIGNED_IN = {"acr", "amr", "auth_time"}
WHO = {"issuer", "subject", "client_id", "token_hash", "user", "roles"} | SIGNED_IN
WHAT = {"method", "operation", "target", "body_sha256", "job_ids", "slurm_errors"}
VERDICT = {"verdict", "code", "rule", "note", "status"}
HOW = {
    "request_id",
    "time",
    "client_address",
    "forwarded_for",
    "bytes_in",
    "bytes_out",
    "upstream_ms",
    "total_ms",
}


def test_aud_4_granted_and_denied_requests_have_the_same_fields(site: Site) -> None:
    ids = [
        answer.headers["x-request-id"]
        for answer in (
            site.ask(SUBMIT, method="POST", body=JOB),
            site.ask("/slurm/v0.0.38/nowhere"),
            site.ask(bearer=signed({}, {"exp": 1})),
            site.ask(DIAG, "Host: second"),
        )
    ]
    granted, *denied = (_record(site, request_id) for request_id in ids)
    assert granted.keys() >= WHO | WHAT | VERDICT | HOW
    assert all(record.keys() == granted.keys() for record in denied)
    assert granted["body_sha256"] == hashlib.sha256(JOB).hexdigest()
    assert (granted["user"], granted["operation"]) == ("alice", "POST /slurm/*/job/submit")
    assert [record["code"] for record in denied] == [
        "operation-unlisted",
        "token-invalid",
        "host-invalid",
    ]
    assert {record["client_address"] for record in denied} == {"127.0.0.1"}


def _record(site: Site, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in site.gateway.records if line["request_id"] == request_id]

    eventually(lambda: bool(found()))
    (record,) = found()
    return record


def test_aud_4_how_and_when_somebody_signed_in_is_told(site: Site) -> None:
    strong = token_for("alice", acr="urn:x:2fa", amr=["pwd", "otp"], auth_time=1_800_000_000)
    records = [
        _record(site, site.ask(bearer=token).headers["x-request-id"])
        for token in (strong, token_for("alice"), "none")
    ]
    told = [(one["acr"], one["amr"], one["auth_time"]) for one in records]
    assert told == [("urn:x:2fa", ["pwd", "otp"], "2027-01-15T08:00:00Z"), *[("", [], "")] * 2]


def test_aud_4_a_head_that_cannot_be_read_names_the_peer_and_not_what_it_claims(
    tmp_path: Path,
) -> None:
    """Whatever stands in such a head has several readings, its X-Forwarded-For too."""
    with recorded_gateway(tmp_path, {"server": {"trusted_proxies": ["127.0.0.1/32"]}}) as site:
        field = "X-Forwarded-For: 203.0.113.9"
        answer = site.ask("/slurm/v0.0.38/nowhere", field)
        read = _record(site, answer.headers["x-request-id"])
        assert (read["client_address"], read["forwarded_for"]) == ("203.0.113.9", "203.0.113.9")
        answer = site.ask(DIAG, field, "X Y: z")
        unread = _record(site, answer.headers["x-request-id"])
        assert (unread["client_address"], unread["forwarded_for"]) == ("127.0.0.1", "")


def test_aud_5_a_token_is_a_keyed_hash_and_can_be_looked_up(site: Site, tmp_path: Path) -> None:
    token = token_for("alice", jti="canary-id")
    record = _record(site, site.ask(bearer=token).headers["x-request-id"])
    key = (site.gateway.folder / "state" / HASH_KEY_FILE).read_bytes()
    assert record["token_hash"] == hmac.digest(key, token.encode(), "sha256")[:16].hex()
    (tmp_path / "token").write_text(token)
    done = site.gateway.run("audit", "search", "--json", "--token-file", str(tmp_path / "token"))
    assert [json.loads(line)["request_id"] for line in done.stdout.splitlines()] == [
        record["request_id"]
    ]


@pytest.mark.parametrize("how", ["edited", "cut", "removed", "moved"])
def test_aud_6_whatever_is_changed_is_found(tmp_path: Path, slow: SlowSlurm, how: str) -> None:
    slow.go.set()
    with served(tmp_path, {"forward": {"upstream": slow.url}}) as gateway:
        for _ in range(3):
            gateway.ask(READ, token_for("alice"))
    audit, key = tmp_path / "audit.jsonl", tmp_path / "state/audit-initial.key"
    lines = audit.read_text().splitlines(keepends=True)
    head = json.loads(lines[-1])
    assert head["event"] == "head"
    kept = f"{head['seq']}:{head['head']}"
    verify = ("audit", "verify", "--key-file", str(key), "--head", kept, str(audit))
    assert _run(*verify).returncode == 0
    changed = {
        "edited": [lines[0], lines[1].replace("alice", "mallory"), *lines[2:]],
        "cut": lines[:3],
        "removed": [lines[0], *lines[2:]],
        "moved": [lines[0], lines[2], lines[1], *lines[3:]],
    }[how]
    audit.write_text("".join(changed))
    assert _run(*verify).returncode == 1


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )


def test_aud_7_a_line_is_bounded_and_says_where_it_was_cut(site: Site) -> None:
    subject = "s" * 1000
    answer = site.ask("/slurm/v0.0.38/" + "x" * 7000, bearer=signed({}, {"sub": subject}))
    record = _record(site, answer.headers["x-request-id"])
    assert record["subject"] == "s" * 512 + "[+488]"
    assert record["target"].endswith("x[+4967]")
    longest = max((site.gateway.folder / "audit.jsonl").read_bytes().splitlines(), key=len)
    assert len(longest) < 16_384


def test_aud_8_every_request_has_its_record_and_none_has_its_body(site: Site) -> None:
    answers = [
        site.ask(SUBMIT, method="POST", body=JOB.replace(b"bin/sh", b"canary-script")),
        site.ask(), site.ask("/", bearer=None), site.ask("/nowhere"), site.ask(bearer=None),
        site.ask("/.well-known/oauth-protected-resource", bearer=None),
    ]  # fmt: skip
    for answer in answers:
        assert _record(site, answer.headers["x-request-id"])["status"] == answer.status
    assert "canary-script" not in (site.gateway.folder / "audit.jsonl").read_text()


def test_aud_9_starts_reloads_and_stops_are_in_it(tmp_path: Path, slow: SlowSlurm) -> None:
    slow.go.set()
    with served(tmp_path, {"forward": {"upstream": slow.url}}) as gateway:
        gateway.write({"limit": {"concurrent_per_identity": 7}})
        assert gateway.run("reload").returncode == 0
        gateway.write({"limit": {"concurrent_per_identity": -1}})
        gateway.tell(signal.SIGHUP)
        eventually(lambda: len(events(gateway.lines, "reload")) == 2)
        assert gateway.stop() == 0
    (start,), (changed, refused) = events(gateway.lines, "start"), events(gateway.lines, "reload")
    assert "limit.concurrent_per_identity" in start["settings"]
    assert (changed["accepted"], list(changed["changed"])) == (
        True,
        ["limit.concurrent_per_identity"],
    )
    assert not refused["accepted"]
    assert len(events(gateway.lines, "stop")) == 1


def test_aud_10_no_secret_is_in_any_output(site: Site) -> None:
    token = token_for("alice", jti="canary-1")
    body = b'{"script":"canary-2","job":{"environment":{"A":"canary-3"},"comment":"canary-4"}}'
    site.ask(
        SUBMIT, "Cookie: canary-5", "X-Api-Key: canary-6", method="POST", body=body, bearer=token
    )
    site.ask(f"{DIAG}?canary=canary-7", bearer=token)
    site.ask(DIAG, "Authorization: Basic canary-8", bearer=None)
    site.send(request(DIAG, "X Canary: canary-9", bearer=token))
    slurm = [
        sent.head.partition(b"X-SLURM-USER-TOKEN: ")[2].split(b"\r\n")[0]
        for sent in site.recorder.sent
    ]
    secrets = [b"canary-%d" % n for n in range(1, 10)]
    secrets += [part for one in (token.encode(), *slurm) for part in one.split(b".")[1:]]
    outputs = [site.gateway.operations(path)[1] for path in ("/metrics", "/readyz", "/healthz")]
    folders = (site.gateway.folder, site.gateway.folder / "state")
    outputs += [
        path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()
    ]
    assert not [secret for secret in secrets if any(secret in output for output in outputs)]
