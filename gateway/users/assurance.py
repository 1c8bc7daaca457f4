"""(Identity, what an operation or role asks of a sign-in) -> enough, or a challenge by RFC 9470.

What a token or session does not say counts as not enough: a token without `acr` was not issued to somebody
who used a second factor, as far as anybody can tell.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Clock, Identity, InboundRequest
from gateway.request.onward import to_login

_FUTURE_SECONDS = 60.0
"""How far the provider's clock may be ahead."""


class Assurance(NamedTuple):
    """One of these `acr` values, if any are named, and a sign-in no older than this, if that is limited."""

    acr_values: tuple[str, ...] = ()
    maximum_age_seconds: float | None = None

    def is_met(self, identity: Identity, now: float) -> bool:
        """Whether the identity says so."""
        if self.acr_values and identity.acr not in self.acr_values:
            return False
        if self.maximum_age_seconds is None:
            return True
        at = identity.auth_time
        return at is not None and -_FUTURE_SECONDS <= now - at <= self.maximum_age_seconds


class StepUp:
    """`by_name` has classes and operations by their names; `challenge` is told acr values and an age."""

    def __init__(
        self,
        by_name: Mapping[str, tuple[Assurance, ...]],
        challenge: Callable[[str, str], str],
        now: Clock,
    ) -> None:
        self._by_name = by_name
        self._challenge = challenge
        self._now = now

    def check(self, request: InboundRequest, identity: Identity, call: AuthorizedCall) -> None:
        """Raise Denied(INSUFFICIENT_USER_AUTHENTICATION) where the call asks for more."""
        operation = call.operation
        for name in dict.fromkeys((operation.name, operation.risk.value, call.risk.value)):
            self.require(request, identity, self._by_name.get(name, ()), f"step_up[{name}]")

    def require(
        self, request: InboundRequest, identity: Identity, wanted: Iterable[Assurance], rule: str
    ) -> None:
        """All of them."""
        for assurance in wanted:
            if not assurance.is_met(identity, self._now()):
                raise self._denied(request, assurance, rule)

    def _denied(self, request: InboundRequest, wanted: Assurance, rule: str) -> Denied:
        """It names what is missing (RFC 9470 section 3), and leads a browser there."""
        acr_values = " ".join(wanted.acr_values)
        age = "" if wanted.maximum_age_seconds is None else f"{wanted.maximum_age_seconds:.0f}"
        members = {"acr_values": acr_values, "max_age": int(age) if age else ""}
        onward = to_login(request, acr_values=acr_values, max_age=age)
        return Denied(
            Reason.INSUFFICIENT_USER_AUTHENTICATION,
            f"wanted: {' '.join(filter(None, (acr_values, age)))}",
            rule=f"authorize.{rule}",
            headers=(("WWW-Authenticate", self._challenge(acr_values, age)), *onward),
            members={name: value for name, value in members.items() if value != ""},
        )
