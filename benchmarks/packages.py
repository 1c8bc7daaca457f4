"""Names of Debian packages -> the same packages installed, with no service started."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

PACKAGES = {
    "wrk": "wrk",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache2": "apache2",
    "/usr/lib/apache2/modules/mod_auth_openidc.so": "libapache2-mod-auth-openidc",
}
"""A program (or file) that the benchmarks need -> the Debian package that brings it."""

POLICY = Path("/usr/sbin/policy-rc.d")


class PackagesMissingError(Exception):
    """The machine lacks packages and this process may not install them."""


def missing_packages() -> list[str]:
    """Return the packages whose program or file is not on this machine."""
    return [package for program, package in PACKAGES.items() if not _is_present(program)]


def install_missing() -> None:
    """Install what is missing, or say exactly what to type."""
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        text = f"missing: {' '.join(missing)}. Type: sudo {' '.join(command)}"
        raise PackagesMissingError(text)
    click.echo(f"installing {' '.join(missing)} ...")
    with _no_services_started():
        _run_quietly(["apt-get", "update", "-qq"])
        _run_quietly([*command, "-o", "DPkg::Lock::Timeout=300"])


def _is_present(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


@contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep maintainer scripts from starting daemons; an existing policy file is left alone."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _run_quietly(command: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        text = f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
        raise PackagesMissingError(text)
