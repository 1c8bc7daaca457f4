"""What a site has configured -> the protocol class that uvicorn makes connections with."""

from collections.abc import Callable
from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edges.late_writes import LateWrites
from gateway.request.host import is_valid_host
from gateway.request.request_id import RequestIds
from gateway.web.exchange import Serve
from gateway.web.http_protocol import HardenedProtocol
from gateway.web.protocol_terms import ProtocolLimits, Refusal, Render, Terms

__all__ = ["ProtocolLimits", "Refusal", "hardened_protocol"]


def hardened_protocol(
    limits: ProtocolLimits,
    on_refusal: Callable[[Refusal], None],
    render_problem: Render,
    *,
    new_request_id: Callable[[], str] | None = None,
    on_overflow: Callable[[], None] = lambda: None,
    serve: Serve | None = None,
    is_served: Callable[[bytes], bool] = lambda _path: True,
    late_writes: LateWrites | None = None,
) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http` setting; `ws` must be "none".

    `on_refusal` hears of every refusal; `on_overflow` of every connection above the limit, which is
    closed without an answer. `serve` takes the requests whose raw path `is_served`. Their answers
    go by `late_writes`.
    """
    terms = Terms(
        limits,
        on_refusal,
        render_problem,
        new_request_id or RequestIds(),
        on_overflow,
        lru_cache(maxsize=256)(is_valid_host),
        serve,
        is_served,
        late_writes or LateWrites(),
    )

    class ConfiguredProtocol(HardenedProtocol):
        pass

    ConfiguredProtocol.terms = terms

    return ConfiguredProtocol
