"""Command line -> a soak of so many seconds, its table, results.json, docs/reliability.md, exit code."""

import os
import random
import shutil
import sys
from pathlib import Path

import click

from benchmarks.machine import describe_machine
from lab import places
from lab.fleet import in_use
from lab.identity_provider import IdentityProvider
from lab.machine import MachineLacksError, require
from lab.processes import LabError
from lab.progress import Progress
from lab.releases import releases
from lab.rootfs import MovedError
from lab.slurm import SlurmRelease
from soak.findings import Findings
from soak.plan import KILLS, Plan, full_plan
from soak.report import as_markdown, as_text, write_between_markers, write_results
from soak.run import soak
from soak.site import Site

RESULTS = places.CHECKOUT / "soak" / "results.json"
DOCUMENT = places.CHECKOUT / "docs" / "reliability.md"
TOKEN_SECONDS = 7200
EXPECTED = (LabError, MachineLacksError, MovedError, OSError, RuntimeError)


@click.command()
@click.option(
    "--seconds",
    type=click.IntRange(min=60, max=3600),
    default=300,
    show_default=True,
    help="How long load and faults take together; starting and the last jobs come on top.",
)
@click.option("--kills", type=click.IntRange(min=1), default=KILLS, show_default=True)
@click.option("--seed", type=int, default=None, help="Of the random moments; printed by each run.")
@click.option("--write/--no-write", default=True, help="Write results.json and the document.")
@click.option("--keep", is_flag=True, help="Keep the gateway's log and configuration.")
def main(*, seconds: int, kills: int, seed: int | None, write: bool, keep: bool) -> None:
    """Kill and fill everything under load, on a real Slurm 22.05.

    Exit code 1: a promise was broken, or something did not come up.
    """
    progress = Progress("soak")
    seed = random.randrange(1 << 32) if seed is None else seed  # noqa: S311 (no secret)
    progress.say(f"seed {seed}")
    try:
        require()
        found = _soak(full_plan(seconds, kills), progress, seed, keep=keep)
        run = [
            f"Command: `make soak TIME={seconds}`; {kills} kills of the gateway, seed {seed}",
            *describe_machine(),
        ]
    except EXPECTED as error:
        click.echo(f"soak failed: {error}", err=True)
        sys.exit(1)
    click.echo(f"\n{as_text(found)}\n")
    if write:
        write_results(RESULTS, found, run)
        write_between_markers(DOCUMENT, as_markdown(found, run))
    for sentence in found.failures():
        click.echo(f"BROKEN: {sentence}")
    sys.exit(1 if found.failures() else 0)


def _soak(plan: Plan, progress: Progress, seed: int, *, keep: bool) -> Findings:
    release = SlurmRelease(releases()[0])
    provider = IdentityProvider(f"soak-{os.getpid()}", access_token_lifetime_seconds=TOKEN_SECONDS)
    folder = places.state_root() / "soak" / str(os.getpid())
    lock = release.layout.folder / "tests-lock"
    with in_use(progress), places.locked(lock, progress, "tests that use this Slurm"):
        release.up(progress)
        provider.up(progress)
        try:
            return soak(
                plan, Site(release, provider, folder, plan.settle_seconds), progress.say, seed
            )
        finally:
            release.up(progress)
            provider.down()
            shutil.rmtree(provider.log.parent, ignore_errors=True)
            _tidy(folder, keep=keep)


def _tidy(folder: Path, *, keep: bool) -> None:
    if keep:
        click.echo(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
