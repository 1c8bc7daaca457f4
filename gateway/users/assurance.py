"""(Identity, what an operation or role asks of a sign-in) -> enough, or a challenge by RFC 9470.

What a token or session does not say counts as not enough: a token without `acr` was not issued to somebody
who used a second factor, as far as anybody can tell.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Clock, Identity, InboundRequest
from gateway.request.onward import to_login

FUTURE_SECONDS = 60.0
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
        return at is not None and -FUTURE_SECONDS <= now - at <= self.maximum_age_seconds


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
        names = _names_of(call)
        first = next((name for name in names if self._is_weak(identity, self._of(name))), "")
        if first:
            self.require(request, identity, self._all_of(names), f"step_up[{first}]")

    def require(
        self, request: InboundRequest, identity: Identity, wanted: Iterable[Assurance], rule: str
    ) -> None:
        """All of them. What is asked for is what meets them together, or nobody would ever be done."""
        wanted = tuple(wanted)
        for assurance in wanted:
            if not assurance.is_met(identity, self._now()):
                raise self._denied(request, together(wanted), assurance, rule)

    def require_role(
        self,
        request: InboundRequest,
        identity: Identity,
        call: AuthorizedCall,
        role: tuple[str, Assurance],
    ) -> None:
        """What the role asks, with what the call will ask of whoever holds it."""
        name, assurance = role
        wanted = (assurance, *self._all_of(_names_of(call)))
        self.require(request, identity, wanted, f"roles.{name}")

    def _of(self, name: str) -> tuple[Assurance, ...]:
        return self._by_name.get(name, ())

    def _all_of(self, names: Iterable[str]) -> tuple[Assurance, ...]:
        return tuple(one for name in names for one in self._of(name))

    def _is_weak(self, identity: Identity, wanted: Iterable[Assurance]) -> bool:
        return not all(one.is_met(identity, self._now()) for one in wanted)

    def _denied(
        self, request: InboundRequest, all_wanted: Assurance | None, missing: Assurance, rule: str
    ) -> Denied:
        """It names what is missing (RFC 9470 section 3), and leads a browser there if that can help."""
        wanted = all_wanted or missing
        acr_values = " ".join(wanted.acr_values)
        age = "" if wanted.maximum_age_seconds is None else f"{wanted.maximum_age_seconds:.0f}"
        members = {"acr_values": acr_values, "max_age": int(age) if age else ""}
        onward = to_login(request, acr_values=acr_values, max_age=age) if all_wanted else ()
        return Denied(
            Reason.INSUFFICIENT_USER_AUTHENTICATION,
            f"wanted: {' '.join(filter(None, (acr_values, age)))}",
            rule=f"authorize.{rule}",
            headers=(("WWW-Authenticate", self._challenge(acr_values, age)), *onward),
            members={name: value for name, value in members.items() if value != ""},
        )


def together(several: Sequence[Assurance]) -> Assurance | None:
    """One that meets all of them, None where no sign-in can."""
    named = [one.acr_values for one in several if one.acr_values]
    acr_values = named[0] if named else ()
    acr_values = tuple(value for value in acr_values if all(value in one for one in named))
    if named and not acr_values:
        return None
    ages = [one.maximum_age_seconds for one in several if one.maximum_age_seconds is not None]
    return Assurance(acr_values, min(ages, default=None))


def _names_of(call: AuthorizedCall) -> tuple[str, ...]:
    """What rules can call it by."""
    operation = call.operation
    return tuple(dict.fromkeys((operation.name, operation.risk.value, call.risk.value)))
