"""Generations, one after the other -> one ASGI application that is never without one."""

import asyncio
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.app import Generation, Workshop, build, try_out
from gateway.app_audit import audit_paths
from gateway.app_policy import BuildError
from gateway.app_shelf import Shelf
from gateway.app_state import (
    audit_part,
    breaker_readings,
    cache_reading,
    credential_part,
    directory_part,
    disk_part,
    key_part,
    key_readings,
    keys_part,
    sessions_part,
    store_part,
    store_reading,
    table_part,
    upstream_part,
)
from gateway.config.fingerprints import changes, fingerprints
from gateway.config.gateway import Gateway
from gateway.config.problem import Problem
from gateway.denial import Denied
from gateway.model import AuditRecord
from gateway.pipeline import note_denial
from gateway.web.all_workers import build_operations_of_all
from gateway.web.client import AsgiReceive, AsgiSend, Scope
from gateway.web.configured_protocol import ProtocolLimits, Refusal, hardened_protocol
from gateway.web.forward_auth import Decisions, ForwardAuth
from gateway.web.head_form import HeadLimits
from gateway.web.metrics import Metrics, Readings
from gateway.web.operations import Part, build_operations
from gateway.web.portal import is_portal_path
from gateway.web.problems import render
from gateway.web.proxy import Proxy
from gateway.web.serving import Serving

__all__ = ["Application", "BuildError", "Generation", "fixed_settings"]

_RETIRE_SECONDS = 2.0
_PAUSE_SECONDS = 60.0
_MOST_HANDED_BYTES = 4_194_304
"""What kernel and transport hold of an answer at most; a client that reads it at the minimum rate,
after a minute's pause, is not cut off."""
_FIXED = (
    ("server", "listen"),
    ("server", "operations_listen"),
    ("server", "forward_auth_listen"),
    ("server", "socket_mode"),
    ("server", "state_directory"),
    ("server", "cluster"),
    ("server", "workers"),
    ("forward", "connections"),
    ("limit", "queue"),
    ("limit", "queue_seconds"),
    ("store", "address"),
)
"""Settings of the process itself, or of what is counted across generations."""


def fixed_settings(running: Gateway, fresh: Gateway) -> list[Problem]:
    """Settings that differ and that only a restart changes."""
    problems = [
        Problem(
            f"{section}.{name}",
            f"cannot change while the gateway runs (it is {before!r})",
            "restart the gateway, or set it back",
        )
        for section, name in _FIXED
        if (before := getattr(getattr(running, section), name))
        != getattr(getattr(fresh, section), name)
    ]
    if (running.server.tls_key_file is None) != (fresh.server.tls_key_file is None):
        what = "TLS cannot be switched on or off while the gateway runs"
        problems.append(Problem("server.tls_key_file", what, "restart the gateway"))
    return problems


def version() -> str:
    """Of the gateway that runs."""
    return importlib.metadata.version("slurm-gateway")


class Application:
    """The gateway as an ASGI callable. Whatever is not the portal's goes through the pipeline."""

    def __init__(
        self, environ: Mapping[str, str], hash_key: bytes, machine_directory: Path | None = None
    ) -> None:
        self.metrics = Metrics(self._readings)
        self.count_connections: Callable[[], int] = lambda: 0
        self.is_draining = False
        self._workshop = Workshop(
            environ, hash_key, (self.metrics.observe,), machine_directory=machine_directory
        )
        self._generation: Generation | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._notes: set[asyncio.Task[None]] = set()
        self._proxy = Proxy(self._enter)

    @property
    def current(self) -> Generation:
        """The generation in force."""
        if self._generation is None:
            raise RuntimeError("no configuration is in force yet")
        return self._generation

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        """ASGI 3, `http` scopes only."""
        if not is_portal_path(scope["raw_path"]):
            await self._proxy(scope, receive, send)
            return
        generation = self.current
        generation.enter()
        try:
            await generation.portal(scope, receive, send)
        finally:
            generation.leave()

    def _enter(self) -> Serving:
        return self.current.enter()

    def forward_auth(self) -> ForwardAuth:
        """The application of the forward-auth listener."""

        def enter() -> Decisions:
            now = self.current
            serving = now.enter()
            return Decisions(serving.receive, serving.pipeline, now.trail, serving.ended)

        return ForwardAuth(enter)

    def protocol(self, *, is_proxy: bool = True) -> type[HttpToolsProtocol]:
        """What reads connections, by the settings in force. Without `is_proxy` all is for the ASGI application."""
        config = self.current.config
        limits = ProtocolLimits(
            HeadLimits(
                config.receive.maximum_url_bytes,
                config.server.maximum_header_bytes,
                config.server.maximum_header_fields,
            ),
            header_seconds=config.server.header_seconds,
            write_seconds=_PAUSE_SECONDS
            + _MOST_HANDED_BYTES / config.forward.minimum_bytes_per_second,
            connections=config.server.connections,
        )
        return hardened_protocol(
            limits,
            self._note_refusal,
            render,
            on_overflow=self.metrics.count_overflow,
            serve=self._proxy.visit if is_proxy else None,
            is_served=lambda raw_path: not is_portal_path(raw_path),
            late_writes=self._workshop.late_writes,
        )

    def _note_refusal(self, refusal: Refusal) -> None:
        """Record what the pipeline never saw. Nothing waits for it: the answer is out already."""
        record = AuditRecord(refusal.request_id, time.time(), refusal.method, refusal.target)
        record.client_address = refusal.peer or "unix"
        note_denial(record, Denied(refusal.reason, refusal.note))
        record.complete = True
        noting = asyncio.get_running_loop().create_task(self.current.trail.close(record))
        self._notes.add(noting)
        noting.add_done_callback(self._notes.discard)

    async def prepare(self, config: Gateway) -> Generation:
        """Make everything of a configuration and try it out, without putting it in force.

        Raises BuildError, and then nothing of it is left.
        """
        shelf_in_force = self._generation.shelf if self._generation else None
        shelf = Shelf(shelf_in_force)
        try:
            generation = build(config, self._workshop, shelf)
            await try_out(generation)
        except BaseException:
            await shelf.close_except(shelf_in_force)
            raise
        return generation

    def adopt(self, generation: Generation) -> None:
        """Put a prepared generation in force; requests that run end in the one they began in."""
        previous = self._generation
        generation.number = previous.number + 1 if previous else 1
        self._record_beginning(previous, generation)
        generation.shelf.start()
        self._generation = generation
        if previous is None:
            return
        if previous.upstream is not generation.upstream:
            # its unused connections would count against slurmrestd's limit for nothing
            previous.upstream.pool.lapse()
        previous.retire()
        retire = _retire(previous, generation, self._retiring)
        self._retiring = asyncio.get_running_loop().create_task(retire)

    def _record_beginning(self, previous: Generation | None, generation: Generation) -> None:
        """What a reload changed, or all settings at a start: as hashes, because values are nobody's business."""
        key = self._workshop.hash_key
        settings = fingerprints(generation.config, key)
        facts: dict[str, object] = {"generation": generation.number, "version": version()}
        if previous is None:
            generation.recording.begin("start", {**facts, "settings": settings})
            return
        changed = changes(fingerprints(previous.config, key), settings)
        generation.recording.begin("reload", {**facts, "accepted": True, "changed": changed})

    def record_refused_reload(self, problems: Sequence[str]) -> None:
        """Somebody wanted something else to be in force. Only the places of what is wrong are told."""
        now = self.current
        places = [problem.partition(":")[0][:200] for problem in problems[:20]]
        facts = {"generation": now.number, "version": version(), "accepted": False}
        now.recording.journal.event("reload", {**facts, "problems": places})

    def rotate_audit(self) -> None:
        """Begin a new audit file. A signal may come before there is any."""
        if self._generation is not None:
            self._generation.recording.rotate()

    async def stop(self) -> None:
        """End everything, also what older generations still hold."""
        if self._retiring is not None:
            await asyncio.wait([self._retiring], timeout=_RETIRE_SECONDS)
        if self._generation is not None:
            await self._generation.recording.end()
            await self._generation.shelf.close_except(None)

    def operations_of_all(self, sockets: Mapping[int, Path]) -> Starlette:
        """The application of an operations listener that speaks for all workers."""
        return build_operations_of_all(self.current.config.server.cluster, sockets)

    def operations(self) -> Starlette:
        """The application of the operations listener."""
        return build_operations(
            self.current.config.server.cluster, self.parts, self.metrics.registry
        )

    async def parts(self) -> Sequence[Part]:
        """What /readyz tells."""
        now = self.current
        keys = {issuer: keys.state() for issuer, keys in now.identification.keys.items()}
        draining = Part("draining", not self.is_draining, self.is_draining)
        return [
            key_part(keys),
            credential_part(now.issuing, now.upstream),
            audit_part(now.recording.journal, audit_paths(now.config.audit)),
            disk_part(now.config.server.state_directory),
            draining,
            upstream_part(now.upstream),
            directory_part(now.mapped),
            table_part(now.mapped, now.identification),
            keys_part(now.idempotent),
            await sessions_part(now.signing_in),
            store_part(now.store),
        ]

    def _readings(self) -> Readings:
        now = self.current
        keys = {issuer: keys.state() for issuer, keys in now.identification.keys.items()}
        pool = now.upstream.pool
        return Readings(
            generation=now.number,
            client_connections=self.count_connections(),
            queue_length=now.slots.queued,
            pool_in_use=pool.opened - pool.unused,
            pool_idle=pool.unused,
            keys=key_readings(keys),
            audit_lines=now.recording.journal.written,
            audit_failures=now.recording.journal.failures,
            audit_dropped=sum(sink.dropped for sink in now.recording.journal.others),
            audit_head=now.recording.book.upkeep.head,
            failed_authentications=now.attempts.failed,
            refused_attempts=now.attempts.refused,
            store=store_reading(now.store),
            cache=cache_reading(now.caching),
            breakers=breaker_readings(now.caching.guarded.breaker),
        )


async def _retire(
    previous: Generation, successor: Generation, earlier: asyncio.Task[None] | None
) -> None:
    """Close what only the previous generation used, once its last request is over."""
    if earlier is not None:
        await asyncio.wait([earlier])
    await previous.is_idle.wait()
    await previous.shelf.close_except(successor.shelf)
