"""(InboundRequest, Identity, ClusterUser) -> AuthorizedCall, or Denied. Deny by default."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.model import (
    AuthorizedCall,
    ClusterUser,
    Identity,
    InboundRequest,
    Operation,
    Risk,
    Target,
)
from gateway.request.browser import check_call
from gateway.request.media_type import JSON
from gateway.slurm_api import Catalogue, Match, VersionedOperation, raised_risk, write_target
from gateway.slurm_api.fields import RULED, is_deadly
from gateway.slurm_api.own_jobs import HOLDS, Hold
from gateway.slurm_api.policy import NOT_LISTED, Answer, Policy, RolePolicy
from gateway.slurm_api.selection import take_selection
from gateway.users.assurance import Assurance, StepUp
from gateway.users.conditions import Conditions, Held

_CACHED_CALLS = 4096
_CACHED_CHARACTERS = 256
"""Longer targets are decided anew, so that the cache stays below some 4 MiB."""

_NOTED_CHARACTERS = 200


class Explanation(NamedTuple):
    """Why a call is granted or not, for `explain`. `operation` is None for what is not listed."""

    operation: Operation | None
    version: str
    risk: Risk | None
    answers: tuple[Answer, ...]
    granted: bool
    rule: str


class Authorize:
    """The fourth stage. Decisions are pure, so each is made once and kept while it is in use."""

    def __init__(
        self,
        catalogue: Catalogue,
        policy: Policy,
        conditions: Conditions | None = None,
        challenge: str = "",
        step_up: StepUp | None = None,
    ) -> None:
        """`challenge` is the WWW-Authenticate of whoever's token is good for less (RFC 6750 section 3.1)."""
        self._step_up = step_up
        self._catalogue = catalogue
        self._policy = policy
        self._conditions = conditions
        self._headers = (("WWW-Authenticate", challenge),) if challenge else ()
        self._remembered = lru_cache(maxsize=_CACHED_CALLS)(self.decide)

    def __call__(
        self, request: InboundRequest, identity: Identity, user: ClusterUser
    ) -> AuthorizedCall:
        """Decide for a request. Who the caller is matters through the roles that are held.

        Raises Denied with OPERATION_UNLISTED, QUERY_UNLISTED or PARAMETER_INVALID, and with
        INSUFFICIENT_USER_AUTHENTICATION, NOT_ACCEPTABLE or CROSS_SITE_REQUEST where it could be allowed.
        """
        if self._conditions is not None:
            call = self._with_conditions(request, identity, user)
        else:
            call = self._decided(request, user.roles)
        if self._step_up is not None:
            self._step_up.check(request, identity, call)
        if call.selection is not None and request.accept != JSON:
            raise Denied(Reason.NOT_ACCEPTABLE, detail="Selected answers are JSON.")
        if request.browser is not None:
            check_call(request.browser, changes_state=call.operation.changes_state)
        return call

    def _decided(self, request: InboundRequest, roles: tuple[str, ...]) -> AuthorizedCall:
        target = request.target
        if _is_short(target):
            return self._remembered(request.method, target, roles)
        return self.decide(request.method, target, roles)

    def _with_conditions(
        self, request: InboundRequest, identity: Identity, user: ClusterUser
    ) -> AuthorizedCall:
        """With the roles that are held now; a refusal is noted with those that are not."""
        held, missed, weak = self.held(request, identity, user)
        try:
            return self._decided(request, held)
        except Denied as denied:
            for role, assurance in weak:
                self._offer(request, identity, (*held, role), assurance)
            if missed:
                denied.note = f"{denied.note}; not held: {', '.join(missed)}"
            raise

    def _offer(
        self,
        request: InboundRequest,
        identity: Identity,
        roles: tuple[str, ...],
        wanted: Assurance,
    ) -> None:
        """Ask for a stronger sign-in where that would be enough; nobody learns of operations otherwise."""
        try:
            call = self._decided(request, roles)
        except Denied:
            return
        if self._step_up is not None:
            self._step_up.require_role(request, identity, call, (roles[-1], wanted))

    def held(self, request: InboundRequest, identity: Identity, user: ClusterUser) -> Held:
        """The user's roles for this request, and why others are not among them."""
        if self._conditions is None:
            return Held(user.roles, ())
        return self._conditions(request, identity, user.roles)

    def decide(self, method: str, target: Target, roles: tuple[str, ...]) -> AuthorizedCall:
        """The operation first, then its parameters: nobody learns about what they may not have."""
        match = self._catalogue.match(method, target.path)
        if match is None:
            note = f"{method} {target.path}"[:_NOTED_CHARACTERS]
            raise self._unlisted(note, NOT_LISTED)
        call, value = match
        risk = raised_risk(call, target.query)
        granted, rule, allowing = self._policy.decide(roles, call, risk)
        operation = call.entry.operation
        if not granted:
            note = f"{operation.name} in {call.version_text or 'any version'} is {risk}"
            raise self._unlisted(f"{note}; roles: {', '.join(roles)}", rule)
        selection, query = take_selection(operation.name, target.query)
        written = write_target(call, value, query)
        return AuthorizedCall(
            operation,
            call.version_text,
            written,
            risk,
            rule,
            _job_ids(match),
            tuple(role.name for role in allowing),
            _has_body_rules(call, allowing[0]),
            _own_jobs_only(operation, allowing),
            selection,
        )

    def permitted(self, method: str, path: str, roles: tuple[str, ...]) -> frozenset[str] | None:
        """What is documented at a path with names in braces -> the query parameters that may be given.

        None where every such call is refused. For the OpenAPI document, by the decisions above.
        """
        match = self._catalogue.match(method, path.removesuffix("/"))
        if match is None:
            return None
        call = match.found
        granted, _, allowing = self._policy.decide(roles, call, call.entry.operation.risk)
        operation = call.entry.operation
        is_refused_later = (
            _own_jobs_only(operation, allowing) and HOLDS[operation.name] is Hold.NEVER
        )
        if not granted or is_refused_later:
            return None
        return frozenset(
            name
            for name in call.query
            if self._policy.decide(roles, call, raised_risk(call, ((name, ""),))).granted
        )

    def _unlisted(self, note: str, rule: str) -> Denied:
        """The same for what does not exist, so that nobody learns from it what does."""
        return Denied(Reason.OPERATION_UNLISTED, note, rule=rule, headers=self._headers)

    def explain(self, method: str, target: Target, roles: Sequence[str]) -> Explanation:
        """What each role says to a call. The parameters are not checked here; `decide` does."""
        match = self._catalogue.match(method, target.path)
        if match is None:
            return Explanation(None, "", None, (), granted=False, rule=NOT_LISTED)
        call = match.found
        risk = raised_risk(call, target.query)
        granted, rule, _ = self._policy.decide(roles, call, risk)
        answers = self._policy.answers(roles, call, risk)
        return Explanation(
            call.entry.operation, call.version_text, risk, answers, granted=granted, rule=rule
        )


def _own_jobs_only(operation: Operation, allowing: Sequence[RolePolicy]) -> bool:
    """One role that allows it for all jobs is enough."""
    return operation.name in HOLDS and all(role.own_jobs_only for role in allowing)


def _has_body_rules(call: VersionedOperation, first: RolePolicy) -> bool:
    """The first role that allows the call is asked first, and one without rules admits what harms nobody else."""
    ruled = RULED.get(call.entry.operation.name)
    if ruled is None:
        return False
    return is_deadly(ruled.group, call.version) or not first.fields[ruled.group].is_empty


def _is_short(target: Target) -> bool:
    length = len(target.path)
    for name, value in target.query:
        length += len(name) + len(value)
    return length <= _CACHED_CHARACTERS


def _job_ids(match: Match) -> tuple[str, ...]:
    parameter = match.found.entry.parameter
    is_job = parameter is not None and parameter.name == "job_id"
    return (match.value,) if is_job else ()
