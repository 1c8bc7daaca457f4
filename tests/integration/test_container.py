"""The container image's install steps, run as the Dockerfile says, from the files that it copies."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def build_stage() -> str:
    return DOCKERFILE.split("\nFROM ", 2)[1]


def copy_sources(target: Path) -> None:
    """Do what the build stage's COPY lines do, below `target` instead of /."""
    for line in re.findall(r"^COPY (.+)$", build_stage(), re.MULTILINE):
        *sources, destination = line.split()
        place = target / destination.lstrip("/")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The image's files, and gone afterwards: libraries hold examples of keys and tokens (canaries.py)."""
    copy_sources(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_the_install_steps_of_the_image_give_a_gateway_that_runs(root: Path) -> None:
    """The virtual environment holds what the lock file names, and every page and table of ours."""
    (step,) = re.findall(r"^RUN sh (\S+) (\S+) (\S+)$", build_stage(), re.MULTILINE)
    script, source, _ = [str(root / str(part).lstrip("/")) for part in step]
    venv = root / "venv"
    subprocess.run(["sh", script, source, str(venv)], check=True)
    command = [str(venv / "bin/slurm-gateway"), "--version"]
    assert (
        "slurm-gateway"
        in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    assert (venv / "share/man/man1/slurm-gateway.1").is_file()
    code = "from gateway.web.portal import read_error_page; print(read_error_page('busy'))"
    page = subprocess.run(
        [str(venv / "bin/python"), "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert page.stdout.startswith("# busy (503)")


def test_the_image_does_not_run_as_root_and_checks_its_own_health() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER [1-9][0-9]+:[1-9][0-9]+$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final


@pytest.mark.parametrize(("url", "exit_code"), [("http://127.0.0.1:9/readyz", 1)])
def test_the_health_check_fails_where_nobody_answers(url: str, exit_code: int) -> None:
    script = ROOT / "deploy/container/health.py"
    done = subprocess.run([sys.executable, script, url], check=False, capture_output=True)
    assert done.returncode == exit_code
