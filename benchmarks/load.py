"""(endpoint, connections, seconds) -> requests a second, latencies and errors, by wrk."""

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from benchmarks.scene import Endpoint
from benchmarks.wire import get_request

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
    endpoint: Endpoint,
    target: str,
    connections: int,
    seconds: float,
    callers: int = 1,
    *,
    timeout_seconds: float = 10.0,
) -> Load:
    """Ask for the target over kept connections from one thread; wrk counts whole seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += ["--timeout", f"{round(timeout_seconds)}s", "-s", str(SCRIPT)]
    with NamedTemporaryFile("w") as heads:
        heads.write(_heads(endpoint, target, callers))
        heads.flush()
        done = subprocess.run(
            [*command, endpoint.url + target],
            env={**os.environ, "BENCH_HEADS_FILE": heads.name},
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


def _heads(endpoint: Endpoint, target: str, callers: int) -> str:
    """Return the heads of so many callers, as everything else here sends them, for wrk.lua."""
    found = [endpoint.headers, *endpoint.other_callers][:callers]
    heads = [get_request(target, replace(endpoint, headers=headers)) for headers in found]
    return b"".join(heads).decode().replace("\r\n", "\n")


def _parse(figures: dict[str, float]) -> Load:
    requests = int(figures["requests"])
    return Load(
        requests=requests,
        requests_per_second=requests / figures["seconds"],
        p50_ms=figures["p50_us"] / 1000,
        p99_ms=figures["p99_us"] / 1000,
        errors=sum(int(figures[kind]) for kind in ERROR_KINDS),
    )
