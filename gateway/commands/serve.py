"""gateway.toml -> a running gateway: listeners, signals, reload, drain."""

import asyncio
import gc
import logging
import os
import resource
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import click
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.app import Generation
from gateway.app_doubts import find_doubts
from gateway.app_policy import BuildError
from gateway.app_running import Application, fixed_settings
from gateway.commands.logs import configure_logging
from gateway.commands.process import Alone, Listening, Orders, Process
from gateway.commands.reporting import report_mistakes
from gateway.commands.supervise import Supervisor
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.config.server import Server
from gateway.edges.hash_key import load_or_create_hash_key
from gateway.edges.process_file import (
    HASH_KEY_FILE,
    PidFile,
    ProcessFileError,
    prepare_state_directory,
)
from gateway.edges.spare_memory import SpareMemory
from gateway.web.listening import Bound, ListenError
from gateway.web.server import AsgiApplication, Listener
from gateway.web.tls import Pair, TlsError, new_context, read_pair, use_pair

_SPARE_FILES = 512
_COLLECTIONS = (10_000, 5, 2)
"""New objects between collections of the young, and of those between collections of the old: an ended connection
leaves fifty objects, and at Python's tenth of a tenth there were twenty thousand such connections at a time."""

_log = logging.getLogger(__name__)


def run(config: Path, environ: Mapping[str, str], *, verbose: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; the exit code of the process."""
    configure_logging(logging.DEBUG if verbose else logging.INFO)
    try:
        gateway = load(config, environ)
        return _serve(config, environ, gateway)
    except ConfigurationError as error:
        report_mistakes(error, config)
    except (BuildError, ListenError, ProcessFileError, TlsError) as error:
        click.echo(f"The gateway does not start: {error}", err=True)
    return 1


def _serve(config: Path, environ: Mapping[str, str], gateway: Gateway) -> int:
    server = gateway.server
    prepare_state_directory(server.state_directory)
    pid_file = PidFile(server.state_directory)
    try:
        if server.workers > 1:
            return Supervisor(config, environ, gateway, serve_as).run()
        return serve_as(Alone(server.state_directory), config, environ, gateway)
    finally:
        pid_file.close()


def serve_as(process: Process, config: Path, environ: Mapping[str, str], gateway: Gateway) -> int:
    """Until it is told to stop."""

    async def serve() -> int:
        serving = Serving(config, environ, gateway, process)
        await serving.begin()
        await serving.until_stopped()
        return 0

    _harden_process(gateway.server.connections + gateway.forward.connections)
    return uvloop.run(serve())


def _harden_process(connections: int) -> None:
    """No core dump ever holds a key; and as many files as there may be connections."""
    if os.geteuid() == 0:
        _log.warning("running as root, which nothing here needs: a user of its own is safer")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard < wanted:
        _log.warning("only %d open files are permitted, %d may be needed", hard, wanted)


class Serving:
    """One running gateway: the application, its listeners, and what the signals do to them."""

    def __init__(
        self, config: Path, environ: Mapping[str, str], gateway: Gateway, process: Process
    ) -> None:
        self._config = config
        self._environ = environ
        self._process = process
        self._whole = gateway
        self._gateway = process.own_part(gateway)
        hash_key = load_or_create_hash_key(gateway.server.state_directory / HASH_KEY_FILE)
        self._application = Application(environ, hash_key, process.machine_directory)
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[Listener] = []
        self._stopped = asyncio.Event()
        self._reload_wanted = asyncio.Event()

    async def begin(self) -> None:
        """Bind, build, try out, then listen. Whatever is wrong stops it here, before any request."""
        orders = Orders(self._stop, self._reload_wanted.set, self._application.rotate_audit)
        self._process.obey(orders)
        server = self._gateway.server
        pair = _read_pair_of(server)
        self._tls = new_context(pair) if pair else None
        listening = self._process.bind(server)
        self._application.adopt(await self._application.prepare(self._gateway))
        self._listeners = self._make_listeners(listening)
        self._application.count_connections = lambda: self._listeners[0].connections
        for listener in self._listeners:
            await listener.begin()
        self._announce()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked through again
        gc.set_threshold(*_COLLECTIONS)  # a request leaves no cycles behind
        self._process.has_begun()

    def _make_listeners(self, listening: Listening) -> list[Listener]:
        application = self._application
        listeners = [
            Listener(
                "public",
                listening.public,
                application,
                protocol=application.protocol(),
                tls=self._tls,
                keep_alive_seconds=self._gateway.server.keep_alive_seconds,
            )
        ]
        own, siblings = application.operations(), self._process.siblings(self._gateway.server)
        shown = application.operations_of_all(siblings) if siblings else own
        hardened, plain = application.protocol(is_proxy=False), HttpToolsProtocol
        more: tuple[tuple[str, Bound | None, AsgiApplication, type[HttpToolsProtocol]], ...] = (
            ("operations", listening.operations, shown, plain),
            ("private", listening.private, own, plain),
            ("forward-auth", listening.forward_auth, application.forward_auth(), hardened),
        )
        listeners += [
            Listener(name, bound, app, protocol=protocol)
            for name, bound, app, protocol in more
            if bound is not None
        ]
        return listeners

    def _announce(self) -> None:
        if not self._process.speaks_for_all:
            return
        server = self._whole.server
        scheme = "https" if self._tls else "http"
        for listener in self._listeners:
            shown = scheme if listener.name == "public" else "http"
            _log.info("%s listener: %s at %s", listener.name, shown, listener.address)
        _log.info(
            "slurm-gateway for cluster %s: %s, slurmrestd at %s, configuration %s",
            server.cluster,
            server.public_url,
            self._gateway.forward.upstream,
            self._config,
        )
        for doubt in find_doubts(self._gateway):
            _log.warning("%s", doubt.on_one_line)

    def _stop(self) -> None:
        """Drain; asked again, cut off what still runs."""
        if self._stopped.is_set():
            for listener in self._listeners:
                listener.hurry()
        self._stopped.set()

    async def until_stopped(self) -> None:
        """Reload whenever asked; drain and end when told."""
        beside = [
            asyncio.create_task(self._reload_when_wanted()),
            asyncio.create_task(SpareMemory().keep()),
        ]
        await self._stopped.wait()
        for task in beside:
            task.cancel()
        drain_seconds = self._gateway.server.drain_seconds
        _log.info("draining: running requests have %g s", drain_seconds)
        self._application.is_draining = True
        for listener in self._listeners:
            is_public = listener.name == "public"
            await listener.stop(drain_seconds if is_public else 0.0)
        await self._application.stop()
        _log.info("stopped")

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            started = time.monotonic_ns()
            problems = await self._reload()
            for problem in problems:
                _log.error("reload refused: %s", problem)
            if problems:
                self._application.record_refused_reload(problems)
            number = self._application.current.number
            self._process.has_reloaded(started, number, problems, self._config)

    async def _reload(self) -> list[str]:
        """Everything new is made before anything old is touched; returns what is wrong."""
        try:
            fresh = load(self._config, self._environ)
            problems = fixed_settings(self._whole, fresh)
            if problems:
                return [str(problem) for problem in problems]
            pair = _read_pair_of(fresh.server)
            generation = await self._application.prepare(self._process.own_part(fresh))
        except ConfigurationError as error:
            return [str(problem) for problem in error.problems]
        except (BuildError, TlsError) as error:
            return [str(error)]
        except Exception as error:  # noqa: BLE001 (whatever went wrong, the old one stays in force)
            _log.exception("reload failed")
            return [f"{type(error).__name__}: see the gateway's log"]
        self._take_over(fresh, generation, pair)
        return []

    def _take_over(self, fresh: Gateway, generation: Generation, pair: Pair | None) -> None:
        """Nothing in here can fail or wait: all of it is new from one moment to the next."""
        if self._tls is not None and pair is not None:
            use_pair(self._tls, pair)
        self._application.adopt(generation)
        self._whole, self._gateway = fresh, generation.config
        public = self._listeners[0]
        public.adjust(self._application.protocol(), fresh.server.keep_alive_seconds)
        _log.info("reloaded: generation %d is in force", self._application.current.number)
        for doubt in find_doubts(fresh):
            _log.warning("%s", doubt.on_one_line)


def _read_pair_of(server: Server) -> Pair | None:
    if server.tls_certificate_file is None or server.tls_key_file is None:
        return None
    return read_pair(server.tls_certificate_file, server.tls_key_file)
