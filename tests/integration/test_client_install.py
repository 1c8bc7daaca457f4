"""The package without an extra, in an environment of its own: the client works, and no part of the server is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import places
from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import CLEAN_ENVIRONMENT
from lab.slurm import SlurmRelease
from tests.integration.conftest import StartGateway

ROOT = places.CHECKOUT
REQUIREMENTS = ROOT / "requirements/client.txt"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, real_things: None) -> Iterator[Path]:
    """Its slurm-gateway. The package itself is copied where pip would put it: no build tool is needed."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--quiet",
    ]
    everything = [*pip, "--require-hashes", "-r", REQUIREMENTS]
    subprocess.run(everything, check=True, env=dict(os.environ), capture_output=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    shutil.copytree(ROOT / "gateway", site / "gateway", ignore=shutil.ignore_patterns("*.pyc"))
    program = folder / "venv/bin/slurm-gateway"
    program.write_text(f"#!{python}\nfrom gateway.cli import main\nmain()\n")
    program.chmod(0o755)
    yield program
    shutil.rmtree(folder)


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments],
        env={**CLEAN_ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_there_and_loads_nothing_but_click(installed: Path) -> None:
    assert "Client:" in run(installed, "--help").stdout
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom gateway.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "roots = {name.partition('.')[0] for name in sys.modules.keys() - before}\n"
        "print(*sorted(roots - sys.stdlib_module_names), file=sys.stderr)"
    )
    python = installed.with_name("python")
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["click", "gateway"]


def test_a_call_works(
    installed: Path,
    one_slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    site: GatewayProcess = shared_gateway(one_slurm_release)
    environment = {
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_CA_FILE": str(site.ca_file),
        "SLURM_GATEWAY_HOME": str(tmp_path / "home"),
        "SLURM_GATEWAY_TOKEN": identity_provider.token_for("alice"),
    }
    done = run(installed, "ping", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is UP" in done.stdout


@pytest.mark.parametrize("command", ["serve", "check", "operations", "audit"])
def test_a_command_of_the_server_says_how_to_get_it(installed: Path, command: str) -> None:
    done = run(installed, command)
    assert done.returncode == 1
    assert "pip install 'slurm-gateway[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_none_of_the_servers_libraries_came_with_it(installed: Path) -> None:
    python = installed.with_name("python")
    for name in ("fastapi", "uvicorn", "pydantic", "orjson", "limits"):
        code = (
            f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
        )
        assert subprocess.run([str(python), "-c", code], check=False).returncode == 0, name
