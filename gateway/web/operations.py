"""The operations listener: /healthz, /readyz and /metrics, for orchestrators and monitoring."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_UNCACHED = {"Cache-Control": "no-store"}


class Part(NamedTuple):
    """One thing that readiness depends on; an `informational` one is told and decides nothing."""

    name: str
    is_ready: bool
    detail: object = ""
    informational: bool = False


ReadParts = Callable[[], Awaitable[Sequence[Part]]]


def build_operations(cluster: str, read_parts: ReadParts, registry: CollectorRegistry) -> Starlette:
    """The application. Nothing here needs a token, so it never stands on the public listener."""

    async def healthz(request: Request) -> Response:  # noqa: ARG001 (the signature is Starlette's)
        return PlainTextResponse("ok\n", headers=_UNCACHED)

    async def readyz(request: Request) -> Response:  # noqa: ARG001 (the signature is Starlette's)
        ready, body = summarize(await read_parts())
        return JSONResponse(
            {"ready": ready, "cluster": cluster, "parts": body},
            200 if ready else 503,
            headers=_UNCACHED,
        )

    async def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={**_UNCACHED, "Content-Type": media_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def summarize(parts: Sequence[Part]) -> tuple[bool, dict[str, object]]:
    """Ready only if every part that counts is; with no part at all, not ready."""
    counted = [part for part in parts if not part.informational]
    ready = bool(counted) and all(part.is_ready for part in counted)
    return ready, {part.name: {"ok": part.is_ready, "detail": part.detail} for part in parts}
