"""releases.toml -> the Slurm releases that this project is tested on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CATALOGUE = Path(__file__).with_name("releases.toml")


@dataclass(frozen=True)
class Release:
    """One Slurm release and what is particular to it."""

    suite: str
    slurm: str
    api_versions: tuple[str, ...]
    packages: tuple[str, ...]
    slurmrestd_arguments: tuple[str, ...]
    slurm_conf: tuple[str, ...]
    cgroup_conf: tuple[str, ...]
    position: int

    def offers(self, package_version: str) -> bool:
        """Whether a Debian package version such as 22.05.8-4+deb12u3 is this release."""
        return package_version.startswith(self.slurm + ".")


def _release(row: dict[str, Any], packages: list[str], position: int) -> Release:
    return Release(
        suite=row["suite"],
        slurm=row["slurm"],
        api_versions=tuple(row["api_versions"]),
        packages=(*packages, *row.get("more_packages", [])),
        slurmrestd_arguments=tuple(row["slurmrestd_arguments"]),
        slurm_conf=tuple(row.get("slurm_conf", [])),
        cgroup_conf=tuple(row.get("cgroup_conf", [])),
        position=position,
    )


def releases(catalogue: Path = CATALOGUE) -> tuple[Release, ...]:
    """Every release of the catalogue, in its order."""
    text = tomllib.loads(catalogue.read_text())
    return tuple(_release(row, text["packages"], at) for at, row in enumerate(text["release"]))


def minimum_usable(catalogue: Path = CATALOGUE) -> int:
    """How many releases have to be left for a run to count."""
    return int(tomllib.loads(catalogue.read_text())["minimum_usable"])


def named(name: str) -> Release:
    """The release with this suite (bookworm) or Slurm release (22.05). LookupError when there is none."""
    for release in releases():
        if name in (release.suite, release.slurm):
            return release
    known = ", ".join(f"{release.suite} ({release.slurm})" for release in releases())
    raise LookupError(f"no release {name!r}; there are {known}")
