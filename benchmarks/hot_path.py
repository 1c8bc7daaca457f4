"""Each stage of one read request, in one process without a network -> microseconds.

What a request costs besides reading and writing sockets. Every stage is the real one, built from
the configuration that the gateway variant of the benchmarks runs with.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import click
import uvloop

from benchmarks.identity import CALLERS, Provider, make_provider
from benchmarks.lineup import ordinary_user
from benchmarks.repeats import connect_instantly, microseconds, repeat, server_connections
from benchmarks.scene import Scene
from benchmarks.stub import SMALL_TARGET, stub
from benchmarks.variants.gateway import write_configuration
from gateway.app import Generation
from gateway.app_running import Application
from gateway.config.load import load
from gateway.edges.upstream_answer import Answer
from gateway.model import AuditRecord, Grant, InboundRequest
from gateway.stages.forward import RequestHead, read_head
from gateway.web.client import Message, Scope
from lab.ports import free_port

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

    def raw(self) -> bytes:
        """Return it as a client sends it."""
        fields = [b"%b: %b\r\n" % field for field in self.headers]
        return b"".join([b"GET ", self.target, b" HTTP/1.1\r\n", *fields, b"\r\n"])

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
    """Print the microseconds of CPU time of each stage, and of all of them together."""
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
    application = Application({}, HASH_KEY)
    generation = await application.prepare(load(path, {}))
    generation.serving = replace(generation.serving, upstream=InstantUpstream())
    application.adopt(generation)
    try:
        shown = Request(generation, provider.token(user))
        steps = await _steps(shown, _fresh_tokens(generation, provider, user), times)
        steps += [
            Timed("the application, instant slurmrestd", _application(application, shown), times),
            Timed(
                "bytes in, bytes out: protocol and application, no sockets",
                _server(application, shown),
                times,
            ),
        ]
        means = [(timed.name, await _time(timed)) for timed in steps]
        callers = [Request(generation, provider.token(user, n)).raw() for n in range(CALLERS)]
        return [*means, *await _repeats(path, callers, times)]
    finally:
        await application.stop()


async def _repeats(path: Path, callers: Sequence[bytes], times: int) -> list[tuple[str, float]]:
    """A gateway of its own, whose slurmrestd has connections, so that repeats are served by callbacks."""
    application = Application({}, HASH_KEY)
    generation = await application.prepare(load(path, {}))
    connect_instantly(generation, ANSWER_HEAD + b"x" * 300)
    application.adopt(generation)
    try:
        return [
            (
                f"a read of {len(requests)} caller(s) that repeats on {count} connections at once, no sockets",
                await microseconds(server_connections(application, count), requests, times),
            )
            for count, requests in (
                (1, callers[:1]),
                (16, callers[:1]),
                (64, callers[:1]),
                (64, callers),
            )
        ]
    finally:
        await application.stop()


async def _time(timed: Timed) -> float:
    """Return the mean CPU microseconds of one call, of the repeat that was disturbed least."""
    means: list[float] = []
    for _ in range(REPEATS):
        step, started = timed.step, time.thread_time()
        for _ in range(timed.times):
            await step()
        means.append((time.thread_time() - started) / timed.times * 1e6)
    return min(means)


async def _steps(shown: Request, fresh: Step, times: int) -> list[Timed]:
    """Return the stages in their order, each on what the one before has made."""
    pipeline = shown.generation.serving.pipeline
    record = AuditRecord("0" * 32, time.time(), "GET")
    inbound = shown.receive()
    admission = await pipeline.admit(inbound, record)
    grant = await pipeline.settle(admission, None, record)
    grant.slot.release()
    await pipeline.audit.close(record)
    admission.lease.release()
    request, identity, cluster_user, call, _ = admission
    write_head = RequestHead("127.0.0.1:6820")

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

    async def audit() -> None:
        entry = copy(record)
        await pipeline.audit.open(entry)
        await pipeline.audit.close(entry)

    async def copied() -> None:
        copy(record)

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
        Timed("a copy of the record (already in the line below)", copied, times),
        Timed("both audit lines, chained and written to the file", audit, times),
        Timed("receive + admit + settle + audit", admit_and_settle, times),
    ]


def _fresh_tokens(generation: Generation, provider: Provider, user: str) -> Step:
    """Return a step that authenticates a token which nobody has seen: each call another one."""
    count = REPEATS * 100
    requests = iter(
        [Request(generation, provider.token(user, n + 1)).receive() for n in range(count)]
    )
    return lambda: generation.serving.pipeline.authenticate(next(requests))


def _application(application: Application, request: Request) -> Step:
    return lambda: application(request.scope(), _receive, _send)


def _server(application: Application, request: Request) -> Step:
    """Return a step that hands a request's bytes to the server's protocol and waits for its answer."""
    connections = server_connections(application, 1)
    return lambda: repeat(connections, [request.raw()], 1)


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


if __name__ == "__main__":
    main()
