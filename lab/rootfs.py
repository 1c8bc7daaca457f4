"""A Debian suite -> a chroot with its Slurm, bootstrapped from the mirror that this machine uses anyway."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from lab import machine, mounts, packages
from lab.processes import CLEAN_ENVIRONMENT, LabError
from lab.progress import Progress
from lab.releases import Release

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NEVER_START = "#!/bin/sh\nexit 101\n"
CHROOT_ONLY_PACKAGES = ("procps",)


class MovedError(Exception):
    """The suite offers another Slurm than the catalogue says, or has left the mirror."""


def _bootstrap_environment() -> dict[str, str]:
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {**CLEAN_ENVIRONMENT, **proxies, "DEBIAN_FRONTEND": "noninteractive"}


def has_left(mirror: str, suite: str) -> bool:
    """Whether the mirror answers but has no such suite any more."""
    try:
        urllib.request.urlopen(f"{mirror}/dists/{suite}/InRelease", timeout=30).close()  # noqa: S310 - apt's own mirror
    except urllib.error.HTTPError as error:
        return error.code == 404
    except OSError:
        return False
    return False


def _bootstrap(root: Path, release: Release, progress: Progress) -> None:
    mirror = packages.mirror()
    if mirror.startswith("http") and has_left(mirror, release.suite):
        raise MovedError(f"{release.suite} is not on the mirror any more")
    draft = root.with_name("root.new")
    mounts.unmount_below(draft)
    mounts.remove_tree(draft)
    settings = root.with_name("host.apt.conf")
    settings.write_text(_apt_settings())
    # With one run of dpkg for all packages it takes a quarter of debootstrap's time (measured).
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--keyring={KEYRING}",
        f"--aptopt={settings}",
        release.suite,
        str(draft),
    ]
    log = root.with_name("mmdebstrap.log")
    with progress.step(f"unpacking Debian {release.suite}"):
        packages.run_logged([*command, *filter(None, [mirror])], log, _bootstrap_environment())
    mounts.unmount_below(draft)
    draft.rename(root)


def _apt_settings() -> str:
    """How the host's apt reaches its mirror; the chroot's has to do the same."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    wanted = ("Acquire::http", "Acquire::Check", "Acquire::Retries")
    return "".join(f"{line}\n" for line in done.stdout.splitlines() if line.startswith(wanted))


def _prepare(root: Path) -> None:
    """What a chroot needs of its host: names, certificates, apt's settings, and that no service starts."""
    for name in ("hosts", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).write_bytes(Path("/etc", name).read_bytes())
    if CERTIFICATES.exists():
        copy = root / CERTIFICATES.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(CERTIFICATES.read_bytes())
    (root / "etc/apt/apt.conf.d/99host").write_text(_apt_settings())
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(NEVER_START)
    policy.chmod(0o755)


def mount_system_folders(root: Path) -> None:
    """Give the chroot /proc, /sys and /dev."""
    if not mounts.is_mounted(root / "proc"):
        mounts.mount("-t", "proc", "proc", str(root / "proc"))
    if not mounts.is_mounted(root / "sys"):
        mounts.mount("--bind", "/sys", str(root / "sys"))
    if not mounts.is_mounted(root / "dev"):
        _mount_devices(root / "dev")


def _mount_devices(at: Path) -> None:
    """Six devices in a folder of the chroot's own: with all of /dev in it, `rm -r` of a checkout empties /dev."""
    mounts.mount("-t", "tmpfs", "-o", "mode=755,size=16m", "tmpfs", str(at))
    try:
        for name in DEVICES:
            (at / name).touch()
            mounts.mount("--bind", f"/dev/{name}", str(at / name))
    except LabError:
        mounts.unmount_below(at)
        raise
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (at / name).symlink_to(f"/proc/self/fd{target}")
    (at / "shm").mkdir()
    (at / "shm").chmod(0o1777)


def _install_slurm(root: Path, release: Release, progress: Progress) -> None:
    log = root.with_name("apt.log")
    inside = ["chroot", str(root)]
    environment = _bootstrap_environment()
    with progress.step("fetching the lists of packages"):
        packages.run_logged([*inside, *packages.APT, "update"], log, environment)
    require_expected(release, packages.candidate("slurmctld", inside))
    wanted = [*release.packages, *CHROOT_ONLY_PACKAGES]
    with progress.step(f"installing Slurm {release.slurm} from {release.suite}"):
        packages.run_logged(
            [*inside, *packages.APT, "install", "-y", "--no-install-recommends", *wanted],
            log,
            environment,
        )


def require_expected(release: Release, version: str) -> None:
    """MovedError unless a package version is of the release that the catalogue expects."""
    if not release.offers(version):
        raise MovedError(
            f"{release.suite} offers Slurm {version or 'no longer'}, not {release.slurm}"
        )


def ensure(root: Path, release: Release, progress: Progress) -> None:
    """Have the chroot with its packages and mounts; what is there already is left as it is."""
    machine.require(machine.missing_for_chroots())
    if not root.exists():
        packages.install(packages.GROUPS["chroot"], progress)
        root.parent.mkdir(parents=True, exist_ok=True)
        _bootstrap(root, release, progress)
    _prepare(root)
    mount_system_folders(root)
    if not packages.is_installed(release.packages, root):
        _install_slurm(root, release, progress)


def remove(root: Path) -> None:
    """Delete the chroot once nothing is mounted below it."""
    for folder in (root, root.with_name("root.new")):
        if folder.exists():
            mounts.unmount_below(folder)
        mounts.remove_tree(folder)
