"""A running gateway and a user's token -> the main job by the command line, as somebody types it, for all to see."""

from __future__ import annotations

import secrets
import shlex
import subprocess
from pathlib import Path

from lab.gateway import GatewayProcess
from lab.places import CHECKOUT, write_private
from lab.processes import CLEAN_ENVIRONMENT, LabError, wait_until
from lab.slurm import SlurmRelease

PROGRAM = CHECKOUT / ".venv/bin/slurm-gateway"
SCRIPT = """#!/bin/bash
#SBATCH --job-name=first --time=5
echo "I am $(id -un) on $(hostname), job $SLURM_JOB_ID."
"""
SECONDS = 120
_FOLDER = "/tmp"  # noqa: S108 - where every user of the cluster may write


class Typist:
    """One user with files of their own: each command is shown with what it says."""

    def __init__(self, gateway: GatewayProcess, home: Path, token: str) -> None:
        self._gateway = gateway
        self.home = home
        home.mkdir(mode=0o700, exist_ok=True)
        self.token_file = home / "token"
        write_private(self.token_file, token.encode() + b"\n")

    def type(self, *words: str) -> str:
        """What it printed. Raises LabError where it did not end well."""
        print(f"$ slurm-gateway {shlex.join(words)}", flush=True)
        done = subprocess.run(
            [str(PROGRAM), *words],
            cwd=self.home,
            env={
                **CLEAN_ENVIRONMENT,
                "HOME": str(self.home),
                "SLURM_GATEWAY_HOME": str(self.home / "slurm-gateway"),
                "SLURM_GATEWAY_CA_FILE": str(self._gateway.ca_file),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        print(done.stdout, end="", flush=True)
        if done.returncode:
            raise LabError(f"slurm-gateway {shlex.join(words)} exited with {done.returncode}")
        return done.stdout


def demonstrate_client(
    gateway: GatewayProcess, release: SlurmRelease, token: str, user: str
) -> bool:
    """Sign in, submit, follow, look: whether the job ran as the user whose token it was."""
    typist = Typist(gateway, gateway.folder / "home", token)
    output = f"{_FOLDER}/slurm-gateway-demo-{secrets.token_hex(4)}.out"
    (typist.home / "first.sh").write_text(SCRIPT)
    try:
        typist.type("login", gateway.url, "--token-file", typist.token_file.name)
        typist.type("whoami")
        typist.type("partitions")
        typist.type("submit", "--wait", "--chdir", _FOLDER, "--output", output, "first.sh")
        listed = typist.type("jobs", "--me", "--name", "first", "--states", "all")
        return _show(release, output, user) and f" {user} " in listed
    finally:
        typist.token_file.unlink(missing_ok=True)
        release.path_of(output).unlink(missing_ok=True)


def _show(release: SlurmRelease, output: str, user: str) -> bool:
    file = release.path_of(output)
    wait_until(file.exists, 10, f"the job's output in {file}")
    text = file.read_text().strip()
    print(f"$ cat {output}      # on the cluster\n{text}")
    return text.startswith(f"I am {user} ") and release.owner_of(output) == user
