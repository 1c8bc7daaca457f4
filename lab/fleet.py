"""Several releases at once: brought up side by side, reported, stopped; too few usable ones are a failure."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from enum import Enum

from lab import machine, mounts, packages, places
from lab.bringing_up import forget
from lab.machine import MachineLacksError
from lab.processes import LabError, Recorded
from lab.progress import Progress
from lab.releases import minimum_usable
from lab.rootfs import MovedError
from lab.slurm import SlurmRelease, all_releases


class Outcome(Enum):
    """What became of one release."""

    RUNNING = "running"
    MOVED = "moved"
    LACKING = "cannot run here"
    FAILED = "failed"


def in_use(progress: Progress) -> AbstractContextManager[None]:
    """Hold the lab, so that ``down --unless-in-use`` of another process leaves it running."""
    return places.locked(places.state_root() / "in-use", progress, "the lab", shared=True)


def is_in_use() -> bool:
    """Whether any process holds the lab."""
    return places.is_locked(places.state_root() / "in-use")


def _bring_up_one(release: SlurmRelease) -> tuple[Outcome, str]:
    progress = Progress(release.name)
    try:
        started = release.up(progress)
    except MovedError as moved:
        return Outcome.MOVED, str(moved)
    except MachineLacksError as lacking:
        return Outcome.LACKING, str(lacking)
    except (LabError, OSError) as error:
        return Outcome.FAILED, str(error)
    return Outcome.RUNNING, f"{release.url} ({'started' if started else 'it ran already'})"


def is_enough(outcomes: Sequence[Outcome], asked_for_all: bool, minimum: int) -> bool:
    """Whether a run may go on: nothing failed, and of all releases enough are left after those that moved."""
    if Outcome.FAILED in outcomes or Outcome.LACKING in outcomes:
        return False
    usable = sum(outcome is Outcome.RUNNING for outcome in outcomes)
    return usable >= (minimum if asked_for_all else 1)


def bring_up(wanted: Sequence[SlurmRelease]) -> int:
    """Start releases side by side and print what became of each; the exit code."""
    machine.require()
    _install_shared(wanted)
    with ThreadPoolExecutor(len(wanted)) as pool:
        results = list(pool.map(_bring_up_one, wanted))
    for release, (outcome, text) in zip(wanted, results, strict=True):
        Progress(release.name).say(f"Slurm {release.release.slurm} {outcome.value}: {text}")
    outcomes = [outcome for outcome, _ in results]
    asked_for_all = len(wanted) == len(all_releases())
    if is_enough(outcomes, asked_for_all, minimum_usable()):
        return 0
    if asked_for_all:
        usable = outcomes.count(Outcome.RUNNING)
        Progress("lab").say(
            f"{usable} of {len(wanted)} releases are usable; {minimum_usable()} are needed"
        )
    return 3 if set(outcomes) <= {Outcome.RUNNING, Outcome.LACKING} else 1


def _install_shared(wanted: Sequence[SlurmRelease]) -> None:
    """One round of apt for what all need on the host, instead of one for each in turn."""
    needed: list[str] = []
    for release in wanted:
        needed += release.release.packages if release.layout.on_host else packages.GROUPS["chroot"]
    packages.install(list(dict.fromkeys(needed)), Progress("packages"))


def bring_down(wanted: Sequence[SlurmRelease], *, even_in_use: bool) -> int:
    """Stop releases side by side; the exit code."""
    if not even_in_use and is_in_use():
        Progress("lab").say("left running: another process uses it")
        return 0
    if len(wanted) == len(all_releases()):
        stop_servers()
    known = [release for release in wanted if release.layout.folder.exists()]
    if known:
        with ThreadPoolExecutor(len(known)) as pool:
            list(pool.map(SlurmRelease.down, known))
    return 0


def stop_servers() -> None:
    """Stop what is neither Slurm nor anybody's: providers and a demo's gateway whose starter is gone."""
    root = places.state_root()
    records = [(path, "node") for path in root.glob("identity_provider/instances/*/pid")]
    records += [(path, "python") for path in root.glob("gateway/pid")]
    for path, program in records:
        if Recorded(path, program).stop():
            Progress("lab").say(f"stopped {path.parent.name} ({program})")


def _line(release: SlurmRelease) -> str:
    folder = release.layout.folder
    note = folder / "moved"
    running = release.running() if folder.exists() else []
    if note.exists():
        state = f"moved: {note.read_text().strip()}"
    elif not (folder / "registered").exists():
        state = "not installed"
    elif not running:
        state = "stopped"
    else:
        missing = [name for name in release.expected() if name not in running]
        state = f"running at {release.url}" + (f", without {', '.join(missing)}" if missing else "")
    return f"{release.name:10} Slurm {release.release.slurm}  {state}\n"


def report(wanted: Sequence[SlurmRelease]) -> str:
    """One line for each release."""
    return "".join(_line(release) for release in wanted)


def forget_all() -> int:
    """Stop everything and delete all state of this checkout's lab."""
    bring_down(all_releases(), even_in_use=True)
    for release in all_releases():
        if release.layout.folder.exists():
            forget(release.layout)
    mounts.remove_tree(places.state_root())
    return 0
