"""Command line -> submissions a second with the audit off, buffered and durable, in soak/submits.json and the page."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import click

from benchmarks.identity import Provider, make_provider
from benchmarks.machine import OtherWork, describe_machine
from benchmarks.processes import ProcessStartError, ProcessTree, running
from benchmarks.scene import Backend, Scene
from benchmarks.variants.gateway import Gateway
from lab import packages, places
from lab.ports import free_port
from lab.processes import LabError
from lab.progress import Progress
from lab.submission import submission
from soak.behind import JOB_NAME, REAL, SLURMS, Behind, slurm
from soak.report import write_between_markers
from soak.submit_rates import CONNECTIONS, DURABILITIES, Round, as_markdown, describe_rounds

BEGIN = "<!-- submits:begin (python -m soak.submits writes what stands between the marks) -->"
END = "<!-- submits:end -->"
RESULTS = places.CHECKOUT / "soak" / "submits.json"
DOCUMENT = places.CHECKOUT / "docs" / "reliability.md"
VERSION = "v0.0.38"
TARGET = f"/slurm/{VERSION}/job/submit"
_SPARE_SECONDS = 30
_MARK = "RESULT "


@dataclass(frozen=True)
class Subject:
    """A gateway that runs."""

    slurm: str
    durability: str
    port: int
    token: str
    tree: ProcessTree


class Load(Protocol):
    """Submissions through a gateway for some seconds."""

    def __call__(self, subject: Subject, connections: int, *, with_key: bool) -> Round: ...


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option("--seconds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--answer-ms",
    type=click.FloatRange(min=0),
    default=1.7,
    show_default=True,
    help="What each submission takes in the Slurm behind the gateways; 22.05 takes 600 a second here.",
)
@click.option(
    "--slurm", "only", type=click.Choice(SLURMS), help="This one alone; then nothing is written."
)
@click.option("--write/--no-write", default=True, help="Write submits.json and the document.")
def main(*, rounds: int, seconds: int, answer_ms: float, only: str | None, write: bool) -> None:
    """Three gateways in front of one slurmrestd take turns within each round.

    Exit code 1: an answer was no 200, or a gateway did not come up. A missed target is printed.
    """
    packages.install(packages.GROUPS["bench"], Progress("packages"))
    others = OtherWork()
    try:
        measured: list[Round] = []
        for name in [only] if only else SLURMS:
            # the daemons of the real one are none of our own processes, and would count as others
            watched = nullcontext() if name == REAL else others.watched()
            with _site(name, answer_ms) as (behind, three), watched:
                measured += measure(behind, three, rounds, partial(_load, seconds=seconds))
    except (ProcessStartError, OSError, RuntimeError, LabError) as error:
        click.echo(f"failed: {error}", err=True)
        sys.exit(1)
    run = [
        f"Command: `python -m soak.submits`; rounds of {seconds} s, {describe_rounds(measured)}; medians",
        f"each submission takes {answer_ms:g} ms in the programs that stand for Slurm; state and audit on {_disk()}",
        *describe_machine()[:2],
        others.describe(),
    ]
    click.echo(as_markdown(measured, run))
    if write and not only:
        content = {"run": run, "rounds": [asdict(one) for one in measured]}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
        write_between_markers(DOCUMENT, as_markdown(measured, run), BEGIN, END)
    sys.exit(1 if any(one.errors for one in measured) else 0)


@contextmanager
def _site(name: str, answer_ms: float) -> Iterator[tuple[Behind, list[Subject]]]:
    """The slurmrestd and the three gateways, until the end."""
    folder = places.state_root() / "submits" / str(os.getpid())
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        behind = stack.enter_context(slurm(name, folder, answer_ms))
        provider = make_provider(folder)
        yield (
            behind,
            [
                stack.enter_context(_gateway(name, durability, behind.backend, provider, folder))
                for durability in DURABILITIES
            ],
        )


@contextmanager
def _gateway(
    name: str, durability: str, backend: Backend, provider: Provider, folder: Path
) -> Iterator[Subject]:
    own = folder / durability
    own.mkdir()
    scene = Scene(own, backend, provider, free_port(), tls=False)
    launch = Gateway().launch(scene)
    _adapt(Path(launch.command[-1]), durability)
    token = provider.token(backend.slurm_user)
    with running(launch.command, scene.port, own / "log") as tree:
        yield Subject(name, durability, scene.port, token, tree)


def _adapt(configuration: Path, durability: str) -> None:
    """As an administrator would write it; without durability no sink may be required."""
    text = configuration.read_text()
    if durability == "off":
        text += "required = false\n"
    text += f'\n[audit]\ndurability = "{durability}"\n'
    text += "\n[idempotency]\nmaximum_keys = 1000000\nmaximum_keys_in_all = 1000000\n"
    configuration.write_text(text)


def measure(behind: Behind, three: Sequence[Subject], rounds: int, load: Load) -> Iterator[Round]:
    """Whole rounds, as many as Slurm has room for; at least one."""
    warm = [load(subject, max(CONNECTIONS), with_key=True) for subject in three]
    made = _clear(behind, warm)
    largest = 0
    for number in range(rounds):
        if number and made + largest > behind.most_jobs:
            return
        measured = list(_round(three, number, load))
        yield from measured
        cleared = _clear(behind, measured)
        made, largest = made + cleared, max(largest, cleared)


def _clear(behind: Behind, measured: Sequence[Round]) -> int:
    count = sum(row.submissions - row.errors for row in measured)
    behind.clear(count)
    return count


def _round(three: Sequence[Subject], number: int, load: Load) -> Iterator[Round]:
    """Each begins with another gateway, so that what slows the machine slows all alike."""
    start = number % len(three)
    for connections in CONNECTIONS:
        for with_key in (False, True):
            for subject in (*three[start:], *three[:start]):
                yield load(subject, connections, with_key=with_key)


def _load(subject: Subject, connections: int, *, with_key: bool, seconds: int) -> Round:
    script = Path(__file__).with_name("submit.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    body = json.dumps(submission(VERSION, "#!/bin/sh\nsleep 1\n", name=JOB_NAME, hold=True))
    prefix = secrets.token_hex(8) if with_key else ""
    before = subject.tree.cpu_seconds()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{subject.port}{TARGET}"],
        env={**os.environ, "TOKEN": subject.token, "BODY": body, "KEY_PREFIX": prefix},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _SPARE_SECONDS,
    )
    used = subject.tree.cpu_seconds() - before
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not found:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    figures = json.loads(found[-1].removeprefix(_MARK))
    return Round(
        subject.slurm,
        connections,
        with_key,
        subject.durability,
        figures["requests"] / figures["seconds"],
        figures["p50_ms"],
        figures["p99_ms"],
        used / max(1, figures["requests"]) * 1e6,
        figures["errors"],
        figures["requests"],
    )


def _disk() -> str:
    """The kind of file system that .lab lies on."""
    command = ["stat", "-f", "-c", "%T", str(places.state_root())]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
