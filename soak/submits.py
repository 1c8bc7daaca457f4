"""Command line -> submissions a second with the audit off, buffered and durable, in soak/submits.json and the page."""

import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.identity import Provider, make_provider, write_secret
from benchmarks.lineup import ordinary_user
from benchmarks.machine import OtherWork, describe_machine
from benchmarks.processes import ProcessStartError, ProcessTree, free_port, running
from benchmarks.scene import Backend, Scene
from benchmarks.variants.gateway import Gateway
from lab import packages, places
from lab.progress import Progress
from lab.submission import submission
from soak.report import write_between_markers

BEGIN = "<!-- submits:begin (python -m soak.submits writes what stands between the marks) -->"
END = "<!-- submits:end -->"
RESULTS = places.CHECKOUT / "soak" / "submits.json"
DOCUMENT = places.CHECKOUT / "docs" / "reliability.md"
VERSION = "v0.0.38"
TARGET = f"/slurm/{VERSION}/job/submit"
DURABILITIES = ("off", "buffered", "durable")
CONNECTIONS = (1, 16)
SLURMS = ("serial", "parallel")
"""One submission after the other, as slurmctld has it; and as many at once as come, which no Slurm does."""
WANTED = 0.9
"""Of the rate with the audit off, at 16 connections, in front of a Slurm that works as Slurm does."""
_SPARE_SECONDS = 30
_MARK = "RESULT "


class Cell(NamedTuple):
    """What is compared."""

    slurm: str
    connections: int
    with_key: bool
    durability: str


@dataclass(frozen=True)
class Round:
    """What one load of some seconds came to."""

    slurm: str
    connections: int
    with_key: bool
    durability: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the gateway, for each submission."""
    errors: int


@dataclass(frozen=True)
class Subject:
    """A gateway that runs."""

    slurm: str
    durability: str
    port: int
    token: str
    tree: ProcessTree


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
@click.option("--write/--no-write", default=True, help="Write submits.json and the document.")
def main(*, rounds: int, seconds: int, answer_ms: float, write: bool) -> None:
    """Three gateways in front of one slurmrestd take turns within each round.

    Exit code 1: an answer was no 200, or a gateway did not come up. A missed target is printed.
    """
    packages.install(packages.GROUPS["bench"], Progress("packages"))
    others = OtherWork()
    try:
        measured: list[Round] = []
        for slurm in SLURMS:
            with subjects(slurm, answer_ms) as three, others.watched():
                measured += measure(three, rounds, seconds)
    except (ProcessStartError, OSError, RuntimeError) as error:
        click.echo(f"failed: {error}", err=True)
        sys.exit(1)
    run = [
        f"Command: `python -m soak.submits`; {rounds} rounds of {seconds} s, medians",
        f"each submission takes {answer_ms:g} ms in Slurm; state and audit on {_disk()}",
        *describe_machine()[:2],
        others.describe(),
    ]
    click.echo(as_markdown(measured, run))
    if write:
        content = {"run": run, "rounds": [asdict(one) for one in measured]}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
        write_between_markers(DOCUMENT, as_markdown(measured, run), BEGIN, END)
    sys.exit(1 if any(one.errors for one in measured) else 0)


@contextmanager
def subjects(slurm: str, answer_ms: float) -> Iterator[list[Subject]]:
    """The slurmrestd and the three gateways, until the end."""
    folder = places.state_root() / "submits" / str(os.getpid())
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        backend = stack.enter_context(_slurm(folder, slurm, answer_ms))
        provider = make_provider(folder)
        yield [
            stack.enter_context(_gateway(slurm, durability, backend, provider, folder))
            for durability in DURABILITIES
        ]


@contextmanager
def _slurm(folder: Path, slurm: str, answer_ms: float) -> Iterator[Backend]:
    port, key_file = free_port(), folder / "jwt_hs256.key"
    write_secret(key_file, os.urandom(32))
    command = [sys.executable, "-m", "soak.slow_slurm", str(port), str(answer_ms), slurm]
    with running(command, port, folder / "slurm.log"):
        yield Backend("slow", port, "", "", "", ordinary_user(), "unchecked", key_file)


@contextmanager
def _gateway(
    slurm: str, durability: str, backend: Backend, provider: Provider, folder: Path
) -> Iterator[Subject]:
    own = folder / durability
    own.mkdir()
    scene = Scene(own, backend, provider, free_port(), tls=False)
    launch = Gateway().launch(scene)
    _adapt(Path(launch.command[-1]), durability)
    token = provider.token(backend.slurm_user)
    with running(launch.command, scene.port, own / "log") as tree:
        yield Subject(slurm, durability, scene.port, token, tree)


def _adapt(configuration: Path, durability: str) -> None:
    """As an administrator would write it; without durability no sink may be required."""
    text = configuration.read_text()
    if durability == "off":
        text += "required = false\n"
    text += f'\n[audit]\ndurability = "{durability}"\n'
    text += "\n[idempotency]\nmaximum_keys = 1000000\nmaximum_keys_in_all = 1000000\n"
    configuration.write_text(text)


def measure(three: Sequence[Subject], rounds: int, seconds: int) -> Iterator[Round]:
    """Each round begins with another gateway, so that what slows the machine slows all alike."""
    for subject in three:
        _load(subject, 16, with_key=True, seconds=1)
    for number in range(rounds):
        for connections in CONNECTIONS:
            for with_key in (False, True):
                start = number % len(three)
                for subject in (*three[start:], *three[:start]):
                    yield _load(subject, connections, with_key=with_key, seconds=seconds)


def _load(subject: Subject, connections: int, *, with_key: bool, seconds: int) -> Round:
    script = Path(__file__).with_name("submit.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    body = json.dumps(submission(VERSION, "#!/bin/sh\nsleep 1\n"))
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
    )


def ratio_to_off(measured: Sequence[Round], one: Cell) -> float:
    """The median of the ratios within each round."""
    own, off = (
        [row.per_second for row in measured if _cell(row) == cell]
        for cell in (one, one._replace(durability="off"))
    )
    return statistics.median(mine / its for mine, its in zip(own, off, strict=True))


def _cell(row: Round) -> Cell:
    return Cell(row.slurm, row.connections, row.with_key, row.durability)


def as_markdown(measured: Sequence[Round], run: Sequence[str]) -> str:
    """A row for each cell, then what was wanted."""
    lines = [
        *(f"- {line}" for line in run),
        "",
        "| Slurm | connections | key | audit | submissions/s | of off | p50 ms | p99 ms | CPU µs | errors |",
        "|---|---:|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    verdicts = []
    for cell in dict.fromkeys(sorted(map(_cell, measured), key=_order)):
        own = [row for row in measured if _cell(row) == cell]
        ratio = ratio_to_off(measured, cell)
        lines.append(_row(cell, own, ratio))
        if cell[:2] == (SLURMS[0], max(CONNECTIONS)) and cell.durability == "durable":
            met = "met" if ratio >= WANTED else "MISSED"
            named = "with" if cell.with_key else "without"
            verdicts.append(f"{named} a key {ratio:.2f}, {met}")
    wanted = (
        f"In front of a Slurm that takes one submission after the other, durable shall reach {WANTED:g} of off"
        f" at 16 connections: {'; '.join(verdicts)}."
    )
    return "\n".join([*lines, "", wanted])


def _order(cell: Cell) -> tuple[int, int, bool, int]:
    return (
        SLURMS.index(cell.slurm),
        cell.connections,
        cell.with_key,
        DURABILITIES.index(cell.durability),
    )


def _row(cell: Cell, own: Sequence[Round], ratio: float) -> str:
    slurm, connections, with_key, durability = cell
    median: Mapping[str, float] = {
        name: statistics.median(getattr(row, name) for row in own)
        for name in ("per_second", "p50_ms", "p99_ms", "cpu_us")
    }
    return (
        f"| {slurm} | {connections} | {'yes' if with_key else 'no'} | {durability} | {median['per_second']:.0f}"
        f" | {ratio:.2f} | {median['p50_ms']:.2f} | {median['p99_ms']:.2f} | {median['cpu_us']:.0f}"
        f" | {sum(row.errors for row in own)} |"
    )


def _disk() -> str:
    """The kind of file system that .lab lies on."""
    command = ["stat", "-f", "-c", "%T", str(places.state_root())]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
