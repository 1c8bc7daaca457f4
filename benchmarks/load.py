"""(endpoint, connections, seconds) -> requests a second, latencies and errors, by wrk."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scene import Endpoint

SCRIPT = Path(__file__).with_name("wrk.lua")
SPARE_SECONDS = 30.0
MARK = "RESULT "
ERROR_KINDS = ("bad_status", "connect", "read", "write", "timeout")


class LoadError(Exception):
    """wrk did not run to its end."""


@dataclass(frozen=True)
class Load:
    """One round's figures; `errors` counts answers above 399, socket errors and timeouts."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def run_load(
    endpoint: Endpoint, target: str, connections: int, seconds: float, callers: int = 1
) -> Load:
    """Ask for the target over kept connections from one thread; wrk counts whole seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += ["--timeout", "10s", "-s", str(SCRIPT)]
    done = subprocess.run(
        [*command, endpoint.url + target],
        env={**os.environ, "BENCH_HEADERS": _header_blocks(endpoint, callers)},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + SPARE_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or not lines:
        message = f"wrk failed on {endpoint.url}{target}: {done.stdout}{done.stderr}"
        raise LoadError(message)
    return _parse(json.loads(lines[-1].removeprefix(MARK)))


def _header_blocks(endpoint: Endpoint, callers: int) -> str:
    """Return the header fields of so many callers as wrk.lua reads them."""
    blocks = [endpoint.headers, *endpoint.other_callers][:callers]
    return "\n\n".join(
        "\n".join(f"{name}: {value}" for name, value in block.items()) for block in blocks
    )


def _parse(figures: dict[str, float]) -> Load:
    requests = int(figures["requests"])
    return Load(
        requests=requests,
        requests_per_second=requests / figures["seconds"],
        p50_ms=figures["p50_us"] / 1000,
        p99_ms=figures["p99_us"] / 1000,
        errors=sum(int(figures[kind]) for kind in ERROR_KINDS),
    )
