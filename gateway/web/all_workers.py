"""The operations listeners of all workers -> one /healthz, /readyz and /metrics for the whole gateway.

Whichever worker is asked asks them all, itself among them, over their private sockets. Series keep apart by
the label `worker`, because a counter that began anew with one worker must not make a sum go back.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_UNCACHED: Final = {"Cache-Control": "no-store"}
_SECONDS: Final = 2.0
_MOST_BYTES: Final = 16_777_216
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: ([0-9]{1,9})(?:\r\n|$)")

Sockets = Mapping[int, Path]


def build_operations_of_all(cluster: str, sockets: Sockets) -> Starlette:
    """The application. A worker that does not answer is not ready."""

    async def healthz(request: Request) -> Response:  # noqa: ARG001 (the signature is Starlette's)
        return PlainTextResponse("ok\n", headers=_UNCACHED)

    async def readyz(request: Request) -> Response:  # noqa: ARG001 (the signature is Starlette's)
        told = {
            number: _read(body) for number, body in (await _ask_all(sockets, "/readyz")).items()
        }
        ready, parts = summarize_all(told)
        body = {"ready": ready, "cluster": cluster, "parts": parts}
        return JSONResponse(body, 200 if ready else 503, headers=_UNCACHED)

    async def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        registry = CollectorRegistry()
        registry.register(_OfAll(await _ask_all(sockets, "/metrics")))
        return Response(encode(registry), headers={**_UNCACHED, "Content-Type": media_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def summarize_all(told: Mapping[int, Mapping[str, Any]]) -> tuple[bool, dict[str, object]]:
    """Ready only if every worker is. Each part says how it is with each worker."""
    parts: dict[str, dict[str, Any]] = {}
    for number, answer in told.items():
        for name, part in answer.get("parts", {}).items():
            whole = parts.setdefault(name, {"ok": True, "detail": {}})
            whole["ok"] = whole["ok"] and part["ok"]
            whole["detail"][str(number)] = part["detail"]
    silent = [number for number, answer in told.items() if not answer]
    parts["workers"] = {"ok": not silent, "detail": {"silent": silent}}
    return bool(told) and all(answer.get("ready") is True for answer in told.values()), {**parts}


def _read(body: bytes) -> Mapping[str, Any]:
    """Nothing where it did not answer."""
    if not body:
        return {}
    answer: Mapping[str, Any] = json.loads(body)
    return answer


async def _ask_all(sockets: Sockets, path: str) -> dict[int, bytes]:
    """The bodies by worker; an empty one where there was no answer."""
    bodies = await asyncio.gather(*(_ask(one, path) for one in sockets.values()))
    return dict(zip(sockets, bodies, strict=True))


async def _ask(unix_socket: Path, path: str) -> bytes:
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(unix_socket, limit=_MOST_BYTES)
            try:
                writer.write(b"GET %b HTTP/1.0\r\nHost: localhost\r\n\r\n" % path.encode())
                whole = await reader.read(-1)
            finally:
                writer.close()
    except OSError:  # no answer in time is one, too
        return b""
    head, _, body = whole.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    # a worker that died in the middle has not answered
    return body if length is not None and int(length[1]) == len(body) else b""


class _OfAll(Collector):
    """The series of all workers as one exposition."""

    def __init__(self, bodies: Mapping[int, bytes]) -> None:
        self._bodies = bodies

    def collect(self) -> Iterator[Metric]:
        """Each family once, with a label more."""
        families: dict[str, Metric] = {}
        for number, body in self._bodies.items():
            for family in text_string_to_metric_families(body.decode()):
                whole = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, "worker": str(number)}
                    whole.samples.append(sample._replace(labels=labels))
        answering = Metric("slurm_gateway_worker_answers", "Whether the worker answers.", "gauge")
        for number, body in self._bodies.items():
            answering.add_sample(answering.name, {"worker": str(number)}, float(bool(body)))
        yield from (*families.values(), answering)
