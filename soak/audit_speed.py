"""Nothing -> megabytes a second that `slurm-gateway audit verify` reads on one core, on the page."""

import json
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.machine import describe_machine
from gateway.audit.chain import Chain, new_chain_key
from gateway.edges.audit_state import write_key
from lab import places
from soak.report import write_between_markers

BEGIN = "<!-- verify:begin (python -m soak.audit_speed writes what stands between the marks) -->"
END = "<!-- verify:end -->"
DOCUMENT = places.CHECKOUT / "docs" / "reliability.md"
RESULTS = places.CHECKOUT / "soak" / "audit_speed.json"
WANTED = 100.0
LINES_OF_A_KEY = 100_000
_PROGRAM = places.CHECKOUT / ".venv/bin/slurm-gateway"


@click.command()
@click.option("--megabytes", type=click.IntRange(min=10), default=500, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--write/--no-write", default=True, help="Write audit_speed.json and the document.")
def main(*, megabytes: int, rounds: int, write: bool) -> None:
    """Write an audit as a gateway does, and verify it by its initial key.

    Seconds are of the processor, user and system: other programs do not count.
    """
    folder = places.state_root() / "audit-speed" / str(os.getpid())
    folder.mkdir(parents=True)
    try:
        lines = write_audit(folder, megabytes * 1_000_000)
        speeds = [verify(folder) for _ in range(rounds)]
    finally:
        shutil.rmtree(folder)
    speed = statistics.median(speeds)
    met = "met" if speed >= WANTED else "MISSED"
    said = [
        f"- Command: `python -m soak.audit_speed`; {megabytes} MB in {lines} lines, median of {rounds}",
        *(f"- {line}" for line in describe_machine()[:2]),
        "",
        (
            f"{speed:.0f} MB for each second of one core (lowest {min(speeds):.0f}); at least"
            f" {WANTED:.0f} are wanted: {met}."
        ),
    ]
    click.echo("\n".join(said))
    if write:
        content = {"megabytes": megabytes, "lines": lines, "megabytes_per_core_second": speeds}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
        write_between_markers(DOCUMENT, "\n".join(said), BEGIN, END)


def write_audit(folder: Path, size: int) -> int:
    """Lines as long as real ones, of two kinds, with a key that moves on; how many they are."""
    chain = Chain(new_chain_key(secrets.token_bytes(32)))
    write_key(folder / "officer.key", chain.key, is_new=True)
    with (folder / "audit.jsonl").open("wb") as file:
        while file.tell() < size:
            request_id = secrets.token_hex(16)
            for event in ("begin", "end"):
                seal(chain, file.write, body(event, request_id))
            if chain.seq % LINES_OF_A_KEY == 0:
                key = chain.key.following()
                seal(chain, file.write, f'"event":"key","epoch":{key.epoch}')
                chain.use(key)
        seal(chain, file.write, f'"event":"head","head":"{chain.mac.hex()}"')
    return chain.seq


def seal(chain: Chain, write: Callable[[bytes], object], text: str) -> None:
    """One line more."""
    (line,), macs = chain.seal([text])
    write(line)
    chain.advance(macs)


def body(event: str, request_id: str) -> str:
    """As long as the lines of a submission."""
    facts = {
        "event": event,
        "time": "2026-03-01T12:00:00.000000Z",
        "request_id": request_id,
        "cluster": "lab",
        "issuer": "https://idp.example.org",
        "subject": "4f1c2d3e4f5a6b7c8d9e0f1a",
        "client_id": "slurm-cli",
        "token_hash": request_id,
        "user": "alice",
        "roles": ["user"],
        "client_address": "192.0.2.7",
        "forwarded_for": "",
        "method": "POST",
        "operation": "POST /slurm/*/job/submit",
        "target": "/slurm/v0.0.42/job/submit",
        "verdict": "granted",
        "rule": "authorize.roles.user.allow",
        "body_sha256": request_id * 2,
        "job_ids": [],
        "bytes_in": 512,
    }
    return json.dumps(facts, separators=(",", ":"))[1:-1]


def verify(folder: Path) -> float:
    """Megabytes for each second of the processor. Raises CalledProcessError where it finds anything."""
    audit = folder / "audit.jsonl"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        str(_PROGRAM),
        "audit",
        "verify",
        "--json",
        "--key-file",
        str(folder / "officer.key"),
    ]
    done = subprocess.run([*command, str(audit)], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not json.loads(done.stdout)["sound"]:
        sys.exit("the audit that was written is not sound")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return audit.stat().st_size / 1e6 / seconds


if __name__ == "__main__":
    main()
