"""Seconds and a target, or all -> each fuzzed for so long; what was new and what failed is kept.

Exit code 1 where an input has failed. It is then in the kept corpus, where every later run of the tests
tries it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from tests.fuzz.kept import read_kept, write_kept
from tests.fuzz.targets import TARGETS, seeds
from tests.measured import note

_LONGEST_INPUT = 4096
_SLOWEST_SECONDS = 10
_MOST_MEGABYTES = 2048
_RUNS = re.compile(rb"stat::number_of_executed_units: +([0-9]+)")
_COVERED = re.compile(rb"cov: ([0-9]+)")


def put(folder: Path, inputs: Iterable[bytes]) -> Path:
    """A folder with a file for each input, as libFuzzer wants it."""
    folder.mkdir()
    for one in inputs:
        (folder / sha256(one).hexdigest()).write_bytes(one)
    return folder


def taken(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


def run(name: str, arguments: Sequence[str]) -> tuple[int, bytes]:
    """(exit code, what libFuzzer has printed)."""
    command = [sys.executable, "-m", "tests.fuzz.one", name, *arguments]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,  # a failure's stack is printed there
        stderr=subprocess.STDOUT,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return done.returncode, done.stdout


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target and keep what it found. Whether nothing failed."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        found = put(place / "found", [*read_kept(name), *seeds(name)])
        failed = put(place / "failed", [])
        code, output = run(
            name,
            [
                f"-max_total_time={seconds}",
                f"-max_len={_LONGEST_INPUT}",
                f"-timeout={_SLOWEST_SECONDS}",
                f"-rss_limit_mb={_MOST_MEGABYTES}",
                f"-artifact_prefix={failed}/",
                "-print_final_stats=1",
                str(found),
            ],
        )
        smallest = put(place / "smallest", [])
        merged, log = run(
            name, ["-merge=1", f"-max_len={_LONGEST_INPUT}", str(smallest), str(found)]
        )
        failures = taken(failed)
        if merged:
            sys.stderr.buffer.write(log[-2000:])
        else:
            write_kept(name, [*taken(smallest), *failures])
    _report(name, seconds, output, len(failures))
    if code:
        sys.stderr.buffer.write(output[-4000:])
    return not code and not merged


def _report(name: str, seconds: int, output: bytes, failures: int) -> None:
    runs, covered = _RUNS.search(output), _COVERED.findall(output)
    executions = int(runs[1]) if runs else 0
    places = int(covered[-1]) if covered else 0
    kept = len(read_kept(name))
    sys.stdout.write(
        f"{name:12} {executions:9} inputs in {seconds} s, {places} places reached,"
        f" {kept} inputs kept, {failures} failed\n"
    )
    sys.stdout.flush()
    note(f"fuzz-{name}", cases=executions, seconds=seconds, inputs_kept=kept, failures=failures)


def main() -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument("--only", choices=[*TARGETS], help="one target instead of all")
    options = parser.parse_args()
    names = [options.only] if options.only else [*TARGETS]
    failed = [name for name in names if not fuzz(name, options.seconds)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
