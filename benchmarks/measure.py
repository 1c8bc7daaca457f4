"""(subject, effort) -> one round's figures: by wrk, by downloads, or by alternating requests."""

import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.identity import Provider
from benchmarks.load import Load, run_load
from benchmarks.processes import ProcessTree
from benchmarks.scene import Backend, Endpoint
from benchmarks.wire import Answer, BadAnswerError, Connection, Pace, get_request, post_request

MEGABYTE = 1_000_000
UPLOAD_BYTES = 50_000_000
HTTP_OK = 200


@dataclass(frozen=True)
class Subject:
    """A variant that runs: where it listens, what runs it (nothing for direct)."""

    name: str
    endpoint: Endpoint
    backend: Backend
    provider: Provider
    tree: ProcessTree | None

    @property
    def authority(self) -> Path:
        """Return the one certificate that TLS clients trust."""
        return self.provider.certificate_file


@dataclass(frozen=True)
class Effort:
    """How much is done in one round."""

    seconds: float
    pairs: int
    downloads: int
    long_seconds: float = 60
    """Of the load that a cache is measured with."""
    submissions: int = 300


@dataclass(frozen=True)
class Measure:
    """One variant's figures of one round; None where a figure has no meaning."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us_per_request: float | None
    memory_growth_mb: float | None
    megabytes_per_second: float | None = None
    added_us: float | None = None
    calls_per_second: float | None = None
    slurmrestd_peak_mb: float | None = None


@dataclass
class Cost:
    """What the variant's processes used meanwhile; filled when the block ends."""

    cpu_seconds: float | None = None
    memory_growth_mb: float | None = None

    def cpu_us(self, requests: int) -> float | None:
        """Return CPU microseconds for one of so many requests."""
        if self.cpu_seconds is None or requests == 0:
            return None
        return self.cpu_seconds / requests * 1e6


@contextmanager
def costing(tree: ProcessTree | None) -> Iterator[Cost]:
    """Note CPU time, and the peak of memory above where it stood before."""
    cost = Cost()
    if tree is None:
        yield cost
        return
    tree.reset_peak()
    cpu, memory = tree.cpu_seconds(), tree.resident_mb()
    yield cost
    cost.cpu_seconds = tree.cpu_seconds() - cpu
    cost.memory_growth_mb = max(0.0, tree.peak_mb() - memory)


def measure_load(
    subject: Subject, effort: Effort, target: str, connections: int, callers: int = 1
) -> Measure:
    """Ask for the target as fast as the connections allow."""
    with costing(subject.tree) as cost:
        load = run_load(subject.endpoint, target, connections, effort.seconds, callers)
    return load_measure(load, cost)


def load_measure(load: Load, cost: Cost) -> Measure:
    """Return the figures of a load."""
    return Measure(
        requests_per_second=load.requests_per_second,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        errors=load.errors,
        cpu_us_per_request=cost.cpu_us(load.requests),
        memory_growth_mb=cost.memory_growth_mb,
    )


def measure_download(subject: Subject, downloads: int, pace: Pace | None) -> Measure:
    """Read the large answer some times over one kept connection."""
    request = get_request(subject.backend.large_target, subject.endpoint)
    samples = Samples()
    with (
        costing(subject.tree) as cost,
        Connection(subject.endpoint, subject.authority, pace) as connection,
    ):
        for _ in range(downloads):
            samples.ask(connection, request)
    size = samples.body_bytes / max(1, len(samples.seconds))
    megabytes_per_second = size / MEGABYTE / statistics.median(samples.seconds)
    return samples.measure(cost, megabytes_per_second=megabytes_per_second)


def measure_upload(subject: Subject, uploads: int, pace: Pace | None) -> Measure:
    """Send a body of 50 MB some times over one kept connection."""
    head, tail = b'{"script":"', b'"}'
    body = head + b"x" * (UPLOAD_BYTES - len(head) - len(tail)) + tail
    request = post_request(subject.backend.upload_target, subject.endpoint, body)
    samples = Samples()
    with (
        costing(subject.tree) as cost,
        Connection(subject.endpoint, subject.authority, write_pace=pace) as connection,
    ):
        for _ in range(uploads):
            samples.ask(connection, request)
    megabytes_per_second = UPLOAD_BYTES / MEGABYTE / statistics.median(samples.seconds)
    return samples.measure(cost, megabytes_per_second=megabytes_per_second)


def measure_added_latency(subject: Subject, direct: Subject, pairs: int) -> Measure:
    """Ask direct and the variant in turn, one request at a time, and compare the medians.

    The backend's own drift hits both alike; which of the two goes first alternates as well.
    """
    target = subject.backend.small_target
    ours, theirs = Samples(), Samples()
    with (
        Connection(direct.endpoint, direct.authority) as straight,
        Connection(subject.endpoint, subject.authority) as through,
        costing(subject.tree) as cost,
    ):
        sides = [
            (theirs, straight, get_request(target, direct.endpoint)),
            (ours, through, get_request(target, subject.endpoint)),
        ]
        for _ in range(pairs):
            for samples, connection, request in sides:
                samples.ask(connection, request)
            sides.reverse()
    added = statistics.median(ours.seconds) - statistics.median(theirs.seconds)
    return ours.measure(cost, added_us=added * 1e6)


def measure_first_sight(subject: Subject, count: int) -> Measure:
    """Ask once with each of many tokens never seen before, and compare with a repeat of the same request.

    What is compared with is the second repeat: the first one may still fill memories.
    """
    first, second, repeat = Samples(), Samples(), Samples()
    requests = [_request_of_a_newcomer(subject) for _ in range(count)]
    with (
        Connection(subject.endpoint, subject.authority) as connection,
        costing(subject.tree) as cost,
    ):
        for request in requests:
            for samples in (first, second, repeat):
                samples.ask(connection, request)
    pairs = zip(first.seconds, repeat.seconds, strict=True)
    added = statistics.median(new - known for new, known in pairs)
    return first.measure(cost, added_us=added * 1e6)


def _request_of_a_newcomer(subject: Subject) -> bytes:
    token = subject.provider.token(subject.backend.slurm_user, secrets.randbits(60))
    endpoint = replace(subject.endpoint, headers={"Authorization": f"Bearer {token}"})
    return get_request(subject.backend.small_target, endpoint)


def show_all_callers(subject: Subject) -> None:
    """Ask twice as each caller, so that no token and no head is new any more to whoever remembers them."""
    target, endpoint = subject.backend.small_target, subject.endpoint
    with Connection(endpoint, subject.authority) as connection:
        for headers in 2 * (endpoint.headers, *endpoint.other_callers):
            connection.ask(get_request(target, replace(endpoint, headers=headers)))


class Samples:
    """Times, sizes and errors of single requests on one connection."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.seconds: list[float] = []
        self.body_bytes = 0
        self.errors = 0

    def ask(self, connection: Connection, request: bytes) -> None:
        """Take one sample; whatever is not a whole 200 is an error."""
        started = time.perf_counter()
        try:
            answer = connection.ask(request)
        except (OSError, BadAnswerError):
            answer = Answer(status=0, body_bytes=0)
        self.seconds.append(time.perf_counter() - started)
        self.body_bytes += answer.body_bytes
        self.errors += answer.status != HTTP_OK

    def measure(
        self,
        cost: Cost,
        megabytes_per_second: float | None = None,
        added_us: float | None = None,
    ) -> Measure:
        """Return the round's figures."""
        return Measure(
            requests_per_second=len(self.seconds) / sum(self.seconds),
            p50_ms=statistics.median(self.seconds) * 1000,
            p99_ms=_percentile_99(self.seconds) * 1000,
            errors=self.errors,
            cpu_us_per_request=cost.cpu_us(len(self.seconds)),
            memory_growth_mb=cost.memory_growth_mb,
            megabytes_per_second=megabytes_per_second,
            added_us=added_us,
        )


def _percentile_99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
