"""(subject, count, connections) -> so many real submissions of held jobs, at so many connections, and their rate."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from benchmarks.held_jobs import await_empty_list, clear_jobs
from benchmarks.measure import Measure, Samples, Subject, costing
from benchmarks.slurm import RELEASE
from benchmarks.wire import Connection, post_request
from lab.processes import LabError
from lab.progress import Progress
from lab.slurm import SlurmRelease
from lab.submission import submission

JOB_NAME: Final = "bench"
CONNECTIONS: Final = 16


def measure_submits(subject: Subject, count: int) -> Measure:
    """Submit held jobs of one user; afterwards they must be there, and are cancelled."""
    with costing(subject.tree) as cost:
        samples, seconds = submit(subject, count)
    clear_jobs(SlurmRelease.named(RELEASE), count - samples.errors, JOB_NAME)
    return replace(samples.measure(cost), requests_per_second=count / seconds)


@contextmanager
def held_jobs(direct: Subject, count: int) -> Iterator[None]:
    """Have so many jobs of the user waiting in Slurm, until the end. LabError where it does not take them."""
    release = SlurmRelease.named(RELEASE)
    clear_jobs(release, 0, JOB_NAME)  # of a run that was broken off
    await_empty_list(release, Progress("slurm"))
    samples, _ = submit(direct, count)
    try:
        if samples.errors:
            raise LabError(f"{samples.errors} of {count} submissions failed")
        yield
    finally:
        clear_jobs(release, 0, JOB_NAME)


def submit(subject: Subject, count: int) -> tuple[Samples, float]:
    """Return the samples of all submissions, and the seconds that they took together."""
    version = SlurmRelease.named(RELEASE).api_versions[0]
    job = submission(version, "#!/bin/sh\nsleep 1\n", name=JOB_NAME, hold=True)
    target, body = f"/slurm/{version}/job/submit", json.dumps(job).encode()
    request = post_request(target, subject.endpoint, body)
    with ExitStack() as stack:
        connections = [
            stack.enter_context(Connection(subject.endpoint, subject.authority))
            for _ in range(CONNECTIONS)
        ]
        return ask_together(connections, request, count)


def ask_together(
    connections: Sequence[Connection], request: bytes, count: int
) -> tuple[Samples, float]:
    """Send the request so many times in all, each connection its next one as soon as it is answered."""
    samples, turns = Samples(), itertools.count()

    def ask(connection: Connection) -> None:
        while next(turns) < count:
            samples.ask(connection, request)

    started = time.perf_counter()
    with ThreadPoolExecutor(len(connections)) as threads:
        list(threads.map(ask, connections))
    return samples, time.perf_counter() - started
