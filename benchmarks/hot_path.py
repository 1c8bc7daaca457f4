"""Each stage of one read request, in one process without a network -> microseconds.

What a request costs besides reading and writing sockets. Every stage is the real one, built from
the configuration that the gateway variant of the benchmarks runs with.
"""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from benchmarks.identity import Provider, make_provider
from benchmarks.lineup import ordinary_user
from benchmarks.processes import free_port
from benchmarks.scene import Scene
from benchmarks.stub import SMALL_TARGET, stub
from benchmarks.variants.gateway import write_configuration
from gateway.app import Generation, Workshop, build, try_out
from gateway.config.load import load
from gateway.edges.upstream_answer import Answer
from gateway.model import AuditRecord, Grant, InboundRequest
from gateway.stages.forward import RequestHead, read_head
from gateway.web.disconnect import Message, Scope
from gateway.web.proxy import Proxy

REPEATS = 7
HASH_KEY = b"\x00" * 32  # the microbenchmark's own; the server's lies in its state directory
ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\nContent-Type: application/json\r\n"
    b"Connection: Keep-Alive\r\n\r\n"
)

Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Timed:
    """A step's name, how it is called, and how often within one repeat."""

    name: str
    step: Step
    times: int


class Request:
    """One request in every form that the stages take it in."""

    def __init__(self, generation: Generation, token: str) -> None:
        self.generation = generation
        self.headers = [
            (b"host", b"127.0.0.1:8443"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"accept", b"application/json"),
        ]
        self.target = SMALL_TARGET.encode()

    def receive(self) -> InboundRequest:
        """Run the first stage."""
        receive = self.generation.serving.receive
        return receive("GET", self.target, self.headers, "127.0.0.1", "0" * 32)

    def scope(self) -> Scope:
        """Return what the server hands to the application."""
        return {
            "type": "http",
            "method": "GET",
            "path": SMALL_TARGET,
            "raw_path": self.target,
            "query_string": b"",
            "headers": self.headers,
            "client": ("127.0.0.1", 50_000),
            "extensions": {"gateway.disconnect": _never},
        }


class InstantUpstream:
    """A slurmrestd that has always answered already."""

    def __init__(self) -> None:
        self._head = read_head(ANSWER_HEAD)

    async def send(self, grant: Grant) -> Answer:
        """Give the slot back as the real one does."""
        grant.slot.release()
        return Answer(self._head, b"x" * 300)


@click.command()
@click.option("--times", type=click.IntRange(min=100), default=20_000, show_default=True)
def main(*, times: int) -> None:
    """Print the median microseconds of each stage, and of all of them together."""
    with _built() as (path, provider, user):
        for name, microseconds in uvloop.run(_measure(path, provider, user, times)):
            click.echo(f"{microseconds:8.2f} us  {name}")


@contextmanager
def _built() -> Iterator[tuple[Path, Provider, str]]:
    folder = Path(tempfile.mkdtemp(prefix="bench-hot-path-"))
    try:
        provider, user = make_provider(folder), ordinary_user()
        with stub(folder, user) as backend:
            scene = Scene(folder, backend, provider, free_port(), tls=False)
            yield Path(write_configuration(scene)), provider, user
    finally:
        shutil.rmtree(folder)


async def _measure(
    path: Path, provider: Provider, user: str, times: int
) -> list[tuple[str, float]]:
    generation = build(load(path, {}), Workshop({}, HASH_KEY))
    generation.shelf.start()
    try:
        await try_out(generation)
        steps = await _steps(generation, provider, user, times)
        return [(timed.name, await _time(timed)) for timed in steps]
    finally:
        await generation.shelf.close_except(None)


async def _time(timed: Timed) -> float:
    """Return the median over the repeats of the mean microseconds of one call."""
    means: list[float] = []
    for _ in range(REPEATS):
        step, started = timed.step, time.perf_counter()
        for _ in range(timed.times):
            await step()
        means.append((time.perf_counter() - started) / timed.times * 1e6)
    return statistics.median(means)


async def _steps(
    generation: Generation, provider: Provider, user: str, times: int
) -> Sequence[Timed]:
    """Return the stages in their order, each on what the one before has made."""
    pipeline = generation.serving.pipeline
    shown = Request(generation, provider.token(user))
    record = AuditRecord("0" * 32, time.time(), "GET")
    inbound = shown.receive()
    admission = await pipeline.admit(inbound, record)
    grant = await pipeline.settle(admission, None, record)
    grant.slot.release()
    admission.lease.release()
    request, identity, cluster_user, call, _ = admission
    write_head = RequestHead("127.0.0.1:6820")
    fresh = _fresh_tokens(generation, provider, user)

    async def limit() -> None:
        (await pipeline.limit(identity, call)).release()

    async def slot() -> None:
        (await pipeline.slots.acquire(identity)).release()

    async def admit_and_settle() -> None:
        entry = AuditRecord("0" * 32, time.time(), "GET")
        admitted = await pipeline.admit(shown.receive(), entry)
        (await pipeline.settle(admitted, None, entry)).slot.release()
        admitted.lease.release()
        await pipeline.audit.close(entry)

    return [
        Timed("an empty step (already in every line below)", _nothing, times),
        Timed("receive", _sync(shown.receive), times),
        Timed("authenticate, token seen for the first time", fresh, 100),
        Timed("authenticate, cached", lambda: pipeline.authenticate(request), times),
        Timed("map_user", lambda: pipeline.map_user(identity), times),
        Timed(
            "authorize", _sync(lambda: pipeline.authorize(request, identity, cluster_user)), times
        ),
        Timed("check_body", _sync(lambda: pipeline.check_body(request, call)), times),
        Timed("limit, and its release", limit, times),
        Timed("slot, and its release", slot, times),
        Timed(
            "credential, cached",
            lambda: pipeline.credential(identity, cluster_user, request.bearer),
            times,
        ),
        Timed("request head to slurmrestd", _sync(lambda: _head(write_head, grant)), times),
        Timed("answer head from slurmrestd", _sync(lambda: read_head(ANSWER_HEAD)), times),
        Timed("audit line, written to the file", lambda: pipeline.audit.close(record), times),
        Timed("receive + admit + settle + audit", admit_and_settle, times),
        Timed("the whole ASGI application, instant slurmrestd", _application(shown), times),
    ]


def _fresh_tokens(generation: Generation, provider: Provider, user: str) -> Step:
    """Return a step that authenticates a token which nobody has seen: each call another one."""
    count = REPEATS * 100
    requests = iter(
        [Request(generation, provider.token(user, f"t-{n}")).receive() for n in range(count)]
    )
    return lambda: generation.serving.pipeline.authenticate(next(requests))


def _application(request: Request) -> Step:
    serving = request.generation.serving
    instant = type(serving)(
        serving.receive,
        serving.pipeline,
        InstantUpstream(),
        serving.spool,
        serving.body_limit,
        serving.body_deadlines,
        serving.minimum_bytes_per_second,
    )
    proxy = Proxy(lambda: instant)
    return lambda: proxy(request.scope(), _receive, _send)


def _head(write_head: RequestHead, grant: Grant) -> bytes:
    return write_head(grant.admission.call, grant.credential, grant.admission.request.accept)


def _sync(function: Callable[[], object]) -> Step:
    async def step() -> None:
        function()

    return step


async def _nothing() -> None: ...


async def _receive() -> Message:
    await asyncio.sleep(3600)
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    del message


def _never(callback: Callable[[], None]) -> Callable[[], None]:
    """Take a callback for a disconnect that does not come."""
    del callback
    return lambda: None


if __name__ == "__main__":
    main()
