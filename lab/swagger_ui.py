"""A version of swagger-ui-dist -> its files as the gateway serves them, and the lock file that names their hashes."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple

from lab.processes import LabError

PACKAGE = "swagger-ui-dist"
FOLDER = Path(__file__).parent.parent / "gateway/web/docs_page/swagger_ui"
PACKED = ("swagger-ui-bundle.js", "swagger-ui.css")
"""Kept as gzip, and sent so to every browser."""
PLAIN = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")
_MAXIMUM_SECONDS = 300


class Tarball(NamedTuple):
    """A package as the registry has it. `integrity` is of the whole (Subresource Integrity)."""

    version: str
    integrity: str
    files: dict[str, bytes]


def update(version: str, folder: Path = FOLDER) -> str:
    """Replace what is served by this version ("latest" is one too). The version that it is in the end."""
    with tempfile.TemporaryDirectory() as scratch:
        tarball = read_tarball(download(version, Path(scratch)))
    for name in PACKED:
        (folder / f"{name}.gz").write_bytes(gzip.compress(tarball.files[name], 9, mtime=0))
    for name in PLAIN:
        (folder / name).write_bytes(tarball.files[name])
    (folder / "lock.toml").write_text(lock_text(tarball))
    return tarball.version


def download(version: str, folder: Path) -> Path:
    """The package's own tarball, by npm, which compares it with the registry's hash and runs nothing of it."""
    npm = Path(sys.executable).with_name("npm")
    command = [str(npm), "pack", "--ignore-scripts", "--silent", f"{PACKAGE}@{version}"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_MAXIMUM_SECONDS, check=False
    )
    if done.returncode:
        raise LabError(f"npm has no {PACKAGE} {version}: {done.stderr.strip()}")
    return folder / done.stdout.split()[-1]


def read_tarball(path: Path) -> Tarball:
    """What is needed of it. Raises LabError for a package that has no longer what it had."""
    files: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for name in ("package.json", *PACKED, *PLAIN):
            try:
                member = archive.extractfile(f"package/{name}")
            except KeyError:
                member = None
            if member is None:
                raise LabError(f"{PACKAGE} has no {name}")
            files[name] = member.read()
    integrity = "sha512-" + b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    about = json.loads(files["package.json"])
    if about["license"] != "Apache-2.0":
        raise LabError(f"{PACKAGE} has another licence now: {about['license']}")
    return Tarball(str(about["version"]), integrity, files)


def lock_text(tarball: Tarball) -> str:
    """As TOML. The hashes are of the files as the package has them."""
    hashes = "".join(
        f'"{name}" = "{hashlib.sha256(tarball.files[name]).hexdigest()}"\n'
        for name in (*PACKED, *PLAIN)
    )
    return (
        "# Written by `python -m lab swagger-ui VERSION`; the hashes are SHA-256 of the files in the package.\n"
        f'package = "{PACKAGE}"\n'
        f'version = "{tarball.version}"\n'
        f'integrity = "{tarball.integrity}"\n\n'
        f"[sha256]\n{hashes}"
    )
