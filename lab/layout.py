"""(release, machine) -> where everything of one cluster lies, as its daemons see it and as the host does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import mounts, places
from lab.machine import MachineLacksError, codename, is_debian, missing_for_chroots
from lab.processes import CLEAN_ENVIRONMENT
from lab.releases import Release

HOST = Path("/")
INSIDE_CHROOT = Path("/lab")


@dataclass(frozen=True)
class Layout:
    """The folders of one cluster. ``inside`` is what its configuration says, ``outside`` the same on the host."""

    release: Release
    folder: Path
    """Below the checkout: locks, records of processes, logs of the installation."""
    root: Path
    """/ on the host, or the chroot."""
    inside: Path

    @property
    def on_host(self) -> bool:
        """Whether the release runs from the host's own packages."""
        return self.root == HOST

    @property
    def outside(self) -> Path:
        """The state folder as the host sees it."""
        return self.path_of(self.inside)

    @property
    def configuration(self) -> Path:
        """slurm.conf, inside."""
        return self.inside / "etc/slurm.conf"

    def path_of(self, inside: Path | str) -> Path:
        """A path that the cluster or a job names, as the host sees it."""
        return self.root / Path(inside).relative_to("/")

    def command(self, arguments: Sequence[str], user: str = "root") -> list[str]:
        """A command line that runs a program in this cluster's world as one of its users."""
        environment = [f"{name}={value}" for name, value in CLEAN_ENVIRONMENT.items()]
        become = (
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
            if user != "root"
            else []
        )
        # chroot / changes nothing but the working directory, which has to be one that every user may read.
        inside = [
            "chroot",
            str(self.root),
            "env",
            "-i",
            *environment,
            f"SLURM_CONF={self.configuration}",
        ]
        return [*inside, *become, *arguments]


def layout_of(release: Release, checkout: Path = places.CHECKOUT) -> Layout:
    """Where this release lives on this machine, made or not."""
    folder = places.state_root(checkout) / release.suite
    if not (is_debian() and codename() == release.suite):
        return Layout(release, folder, folder / "root", INSIDE_CHROOT)
    state = folder / "state"
    short = places.runtime_root(checkout) / release.suite
    return Layout(release, folder, HOST, state.resolve() if places.is_reachable(state) else short)


def attach_state(layout: Layout) -> None:
    """Make the state folder; where its own path will not do, mount it at a short one that all may follow."""
    if not layout.on_host:
        return
    state = layout.folder / "state"
    state.mkdir(mode=0o755, exist_ok=True)
    if layout.inside == state.resolve():
        return
    layout.inside.mkdir(parents=True, exist_ok=True)
    if not mounts.is_mounted(layout.inside):
        _require_right_to_mount(state)
        mounts.mount("--bind", str(state), str(layout.inside))


def _require_right_to_mount(state: Path) -> None:
    if missing_for_chroots():
        raise MachineLacksError(
            f"Slurm's daemons cannot use {state}: it is too long, or below a folder that somebody else owns or may"
            " not enter, and the right to mount it elsewhere is missing; move the checkout to /srv/slurm-gateway"
        )


def detach_state(layout: Layout) -> None:
    """Undo what attach_state and the chroot mounted."""
    for folder in (layout.inside,) if layout.on_host else (layout.root,):
        if folder.exists() and folder != layout.folder / "state":
            mounts.unmount_below(folder)
    short = places.RUNTIME in layout.inside.parents
    for folder in (layout.inside, layout.inside.parent) if short else ():
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
