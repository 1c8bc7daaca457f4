"""(subject, clients, seconds) -> lists of jobs a second, slurmctld's questions meanwhile, slurmrestd's memory.

slurmrestd is restarted before each variant, so that the memory it takes is that variant's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from benchmarks.held_jobs import lists_asked_for
from benchmarks.load import run_load
from benchmarks.measure import HTTP_OK, Measure, Subject, costing, load_measure
from benchmarks.processes import ProcessTree
from benchmarks.slurm import RELEASE
from benchmarks.wire import BadAnswerError, Connection, get_request
from lab.processes import LabError, wait_until
from lab.slurm import SlurmRelease

CODINGS: Final = {"Accept-Encoding": "gzip, zstd"}
"""As browsers and today's client libraries send it; slurmrestd compresses nothing."""
PATIENCE_SECONDS: Final = 300.0
"""Of a client: a slurmrestd that is asked by many at once lets each wait for half a minute."""
_READY_SECONDS: Final = 60.0


ONE_ARENA: Final = {"MALLOC_ARENA_MAX": "1"}
"""glibc gives each thread that asks for memory at the same time an arena of its own, which it hardly gives back."""


@dataclass(frozen=True)
class Polling:
    """What clients without a pause accept, and what slurmrestd is started with."""

    headers: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


def measure_lists(subject: Subject, polling: Polling, clients: int, seconds: float) -> Measure:
    """Ask for the list of all jobs; afterwards slurmrestd is as it was at first."""
    release = SlurmRelease.named(RELEASE)
    try:
        slurmrestd = restart_slurmrestd(release, polling.environment)
        return _measured(subject, polling, clients, seconds, slurmrestd)
    finally:
        restart_slurmrestd(release, {})


def _measured(
    subject: Subject, polling: Polling, clients: int, seconds: float, slurmrestd: ProcessTree
) -> Measure:
    release = SlurmRelease.named(RELEASE)
    wait_until(lambda: _answers(subject), _READY_SECONDS, f"an answer through {subject.name}")
    headers = {**subject.endpoint.headers, **polling.headers}
    endpoint = replace(subject.endpoint, headers=headers)
    before = lists_asked_for(release)
    with costing(subject.tree) as cost:
        load = run_load(
            endpoint,
            subject.backend.large_target,
            clients,
            seconds,
            timeout_seconds=PATIENCE_SECONDS,
        )
    peak, calls = slurmrestd.peak_mb(), lists_asked_for(release) - before
    return replace(
        load_measure(load, cost), calls_per_second=calls / seconds, slurmrestd_peak_mb=peak
    )


def restart_slurmrestd(release: SlurmRelease, environment: Mapping[str, str]) -> ProcessTree:
    """Return the new process, which answers reads. Raises LabError."""
    release.stop("slurmrestd")
    release.start("slurmrestd", **environment)
    wait_until(release.serves_reads, _READY_SECONDS, "a read of the restarted slurmrestd")
    pid = release.pid_of("slurmrestd")
    if pid is None:
        raise LabError("slurmrestd ended after its start")
    return ProcessTree(pid)


def _answers(subject: Subject) -> bool:
    """Whether the way to the new slurmrestd is open."""
    request = get_request(subject.backend.small_target, subject.endpoint)
    try:
        with Connection(subject.endpoint, subject.authority) as connection:
            return connection.ask(request).status == HTTP_OK
    except (OSError, BadAnswerError):
        return False
