"""A sign-in under way <-> the cookie that binds it to the browser that began it.

The gateway remembers nothing of it until the answer comes: whoever only begins costs no memory. State,
nonce and PKCE verifier are in the cookie, encrypted; the state's hash is in its name, so that two tabs
can sign in at once.
"""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from gateway.sign_in.sealing import Sealer, Unsealable

FLOW_SECONDS = 600.0
_VERIFIER_BYTES = 48
"""64 characters; RFC 7636 section 4.1 asks for 43 to 128."""
_NAME_DIGITS = 16


class FlowRefused(ValueError):
    """Not a sign-in that this browser began here, or not any more. The text is for the audit."""


@dataclass(frozen=True, slots=True)
class Flow:
    """`acr_values` and `maximum_age_seconds` are what a step-up asked for."""

    client: str
    state: str
    nonce: str
    verifier: str
    target: str
    begun: float
    acr_values: tuple[str, ...] = ()
    maximum_age_seconds: float | None = None

    def __repr__(self) -> str:
        return f"Flow(client={self.client!r}, …)"


def new_flow(client: str, target: str, now: float, **wanted: Any) -> Flow:
    """Fresh secrets: 256 bits of state and nonce each."""
    return Flow(
        client,
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(_VERIFIER_BYTES),
        target,
        now,
        **wanted,
    )


def cookie_suffix(state: str) -> str:
    """What the flow's cookie is called by; the state itself stays out of it."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:_NAME_DIGITS]


def seal_flow(flow: Flow, sealer: Sealer) -> bytes:
    """For the cookie."""
    return sealer.seal(json.dumps(asdict(flow)).encode(), flow.state)


def open_flow(sealed: bytes, state: str, client: str, now: float, sealer: Sealer) -> Flow:
    """The flow that an answer with this state, at this client's callback, belongs to. Raises FlowRefused."""
    try:
        values = json.loads(sealer.open(sealed, state))
    except Unsealable:
        raise FlowRefused("the cookie is not one of ours for this state") from None
    flow = Flow(**{**values, "acr_values": tuple(values["acr_values"])})
    if flow.client != client:
        raise FlowRefused("begun at another issuer")
    if not flow.begun <= now < flow.begun + FLOW_SECONDS:
        raise FlowRefused("begun too long ago")
    return flow
