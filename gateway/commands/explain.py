"""(method, path, a token or a user) -> each stage's answer, without forwarding anything."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from gateway.app_identity import (
    make_authenticate,
    make_map_user,
    make_trust,
    make_user_check,
)
from gateway.app_policy import (
    make_body_rules,
    make_check_body,
    make_conditions,
    make_policy,
    make_receive,
    make_step_up,
)
from gateway.app_shelf import Shelf
from gateway.app_store import open_store
from gateway.app_throttle import read_rates
from gateway.commands.described_roles import describe_fields
from gateway.commands.explanation import Explanation, print_for_people, print_json
from gateway.commands.logs import configure_logging
from gateway.commands.reporting import report_mistakes
from gateway.config.credential import Attach, Mint, Passthrough
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError, suggest
from gateway.denial import Denied
from gateway.edges.edited_file import FileUnusable
from gateway.edges.few_threads import FewThreads
from gateway.model import AuthorizedCall, ClusterUser, Identity, InboundRequest
from gateway.slurm_api import Catalogue, read_catalogue
from gateway.slurm_api.fields import RULED
from gateway.slurm_api.own_jobs import HOLDS
from gateway.stages.authenticate import Attempt
from gateway.stages.authorize import Authorize
from gateway.stages.limit import charged_class
from gateway.web.portal import METADATA_PATH, is_portal_path

_MAXIMUM_TOKEN_BYTES = 65_536


def run(
    method: str,
    path: str,
    token_file: Path | None,
    *,
    config: Path,
    environ: Mapping[str, str],
    user: str | None,
    roles: Sequence[str],
    body_file: Path | None,
    address: str,
    as_json: bool,
) -> int:
    """0 where the request would be granted, 1 where it would be refused."""
    configure_logging(logging.CRITICAL)  # what the edges log is told here in other words
    try:
        gateway = load(config, environ)
    except ConfigurationError as error:
        report_mistakes(error, config)
        return 1
    for role in roles:
        if role not in gateway.authorize.roles:
            hint = suggest(role, gateway.authorize.roles)
            raise click.BadParameter(f"{role} is no role; {hint}", param_hint="--role")
    token = _read_token(token_file) if token_file is not None else None
    try:
        body = body_file.read_bytes() if body_file is not None else None
        asked = Asked(method.upper(), path, token, user, tuple(roles), body, address)
        explanation = asyncio.run(_explain(gateway, asked))
    except (FileUnusable, OSError) as error:
        raise click.ClickException(str(error)) from error
    (print_json if as_json else print_for_people)(explanation)
    return 1 if explanation.refusal else 0


def _read_token(path: Path) -> str:
    try:
        if str(path) == "-":
            text = sys.stdin.read(_MAXIMUM_TOKEN_BYTES)
        else:
            with path.open(encoding="ascii", errors="replace") as file:
                text = file.read(_MAXIMUM_TOKEN_BYTES)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--token-file") from error
    token = text.strip()
    if not token:
        raise click.BadParameter(f"{path} is empty", param_hint="--token-file")
    return token


class Asked(NamedTuple):
    """The question. Either `token` or `user` is None."""

    method: str
    path: str
    token: str | None
    user: str | None
    roles: tuple[str, ...]
    body: bytes | None = None
    address: str = "127.0.0.1"


async def _explain(gateway: Gateway, asked: Asked) -> Explanation:
    explaining = _Explaining(gateway, Explanation())
    try:
        await explaining.ask(asked)
    except Denied as refusal:
        explaining.told.refusal = refusal
    finally:
        await explaining.shelf.close_except(None)
    return explaining.told


class _NobodyCounts:
    """The failure budget of a command: whoever may read the configuration may try."""

    async def check(self, attempt: Attempt) -> None:
        """Nothing is used up."""

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """Nothing is counted."""

    def trust(self, digest: bytes) -> None:
        """Nothing is remembered."""


class _AnybodyAsks:
    """The same for whoever brings no token."""

    async def count(self, address: str) -> None:
        """Nothing is counted."""


class _Explaining:
    """The stages of `serve`, asked one by one; nothing of them writes, forwards or makes a token."""

    def __init__(self, gateway: Gateway, told: Explanation) -> None:
        self.told = told
        self.shelf = Shelf()
        self._gateway = gateway
        self._threads = FewThreads(2)
        self._catalogue: Catalogue = read_catalogue()
        policy = make_policy(gateway.authorize, self._catalogue)
        conditions = make_conditions(gateway.authorize)
        metadata_url = gateway.server.public_url.rstrip("/") + METADATA_PATH
        step_up = make_step_up(gateway.authorize, self._catalogue, metadata_url)
        self._authorize = Authorize(self._catalogue, policy, conditions, step_up=step_up)
        self._body_rules = make_body_rules(policy, gateway.receive.maximum_ruled_body_bytes)

    async def ask(self, asked: Asked) -> None:
        """Raises Denied where a stage refuses."""
        if is_portal_path(asked.path.encode("utf-8", "replace")):
            self.told.tell("receive", "the gateway answers this itself, without a token")
            return
        request = self._receive(asked)
        if asked.user is None:
            identity = await self._authenticate(request)
            mapped = await self._map(identity)
        else:
            self.told.tell("authenticate", "not asked (--user)")
            identity = _nobody()
            mapped = await self._check_user(asked.user, asked.roles)
        call = self._decide(request, identity, mapped)
        self._describe_limit(call)
        self._judge_body(call, asked.body)
        self._describe_credential(mapped)

    def _receive(self, asked: Asked) -> InboundRequest:
        method, path, token = asked.method, asked.path, asked.token
        raw = path.encode("utf-8", "replace")
        length = 2 if asked.body is None else len(asked.body)
        headers = [(b"host", b"localhost"), *_body_headers(method, path, length, self._catalogue)]
        if token is not None:
            headers.append((b"authorization", b"Bearer " + token.encode("ascii", "replace")))
        request = make_receive(self._gateway)(method, raw, headers, asked.address, "explain")
        query = "&".join(f"{name}={value}" for name, value in request.target.query)
        shown = request.target.path + (f"?{query}" if query else "")
        self.told.add("receive", f"{method} {shown}", method=method, target=shown)
        return request

    async def _authenticate(self, request: InboundRequest) -> Identity:
        metadata_url = self._gateway.server.public_url.rstrip("/") + METADATA_PATH
        stage = make_authenticate(
            self._gateway.authenticate,
            make_trust(self._gateway.authenticate, self.shelf),
            _NobodyCounts(),
            anonymous=_AnybodyAsks(),
            resource_metadata=metadata_url,
            hash_key=os.urandom(32),
        ).authenticate
        identity = await stage(request)
        ends = datetime.fromtimestamp(identity.expires, UTC).isoformat()
        who = identity.subject or f"client {identity.client_id}"
        left = identity.expires - time.time()
        self.told.add(
            "authenticate",
            f"{identity.kind} {who} of {identity.issuer}, for {left:.0f} s",
            issuer=identity.issuer,
            subject=identity.subject,
            client_id=identity.client_id,
            kind=identity.kind,
            groups=identity.groups,
            expires=ends,
        )
        return identity

    async def _map(self, identity: Identity) -> ClusterUser:
        mapped = make_map_user(
            self._gateway.map_user,
            self._gateway.server.state_directory,
            self._threads,
            self.shelf,
            store=open_store(self._gateway, self.shelf),
            remember=False,
        )
        return self._tell_user(await mapped.map_user(identity))

    async def _check_user(self, name: str, roles: Sequence[str]) -> ClusterUser:
        check = make_user_check(self._gateway.map_user, name, self._threads)
        user = await check(_nobody())
        names = tuple(dict.fromkeys(["user", *roles]))
        return self._tell_user(ClusterUser(user.name, names, "--user", user.uid, user.gid))

    def _tell_user(self, user: ClusterUser) -> ClusterUser:
        uid = "" if user.uid is None else f", uid {user.uid}"
        self.told.add(
            "map_user",
            f"{user.name}{uid}, roles {', '.join(user.roles)} ({user.rule})",
            user=user.name,
            uid=user.uid,
            roles=user.roles,
            rule=user.rule,
        )
        return user

    def _decide(
        self, request: InboundRequest, identity: Identity, user: ClusterUser
    ) -> AuthorizedCall:
        held, missed, _ = self._authorize.held(request, identity, user)
        if missed:
            self.told.tell("authorize", f"not held now: {', '.join(missed)}", not_held=missed)
        explained = self._authorize.explain(request.method, request.target, held)
        for answer in explained.answers:
            if answer.verdict != "nothing":
                self.told.tell(
                    "authorize", f"role {answer.role}: {answer.verdict} by {answer.rule}"
                )
        call = self._authorize(request, identity, user)
        self.told.add(
            "authorize",
            f"{call.operation.name} in {call.version or 'any version'}, {call.risk} ({call.rule})",
            operation=call.operation.name,
            version=call.version,
            risk=call.risk,
            rule=call.rule,
            target=call.target.decode(),
        )
        if call.own_jobs_only:
            hold = HOLDS[call.operation.name].value
            self.told.tell("own jobs", f"{user.name} reaches own jobs only: {hold}")
        make_check_body(self._gateway)(request, call)
        return call

    def _describe_limit(self, call: AuthorizedCall) -> None:
        section = self._gateway.limit
        rate = read_rates(section.rates)[charged_class(call)]
        self.told.tell(
            "limit",
            f"{rate.name}: {rate.amount} in {rate.window_seconds} s,"
            f" {section.concurrent_per_identity} at the same time (not counted now)",
            rate=rate.name,
            amount=rate.amount,
            window_seconds=rate.window_seconds,
        )

    def _judge_body(self, call: AuthorizedCall, body: bytes | None) -> None:
        if call.operation.name not in RULED:
            return
        for role in call.roles:
            for line in describe_fields(self._gateway.authorize.roles[role]):
                self.told.tell("body rules", f"role {role}: {line}")
        if body is None:
            self.told.tell("body rules", "no body was given (--body-file)")
            return
        changed = self._body_rules.judge(call, body) if call.has_body_rules else None
        if changed is None:
            self.told.add("body rules", "the body would be forwarded as it is")
        else:
            text = "the body would be forwarded with its forced fields"
            self.told.add("body rules", text, body=json.loads(changed))

    def _describe_credential(self, user: ClusterUser) -> None:
        text = describe_credential(self._gateway, user.name)
        self.told.tell("credential", text, provider=self._gateway.credential.provider)


def describe_credential(gateway: Gateway, name: str) -> str:
    """How a request of this user would come by its token."""
    match gateway.credential:
        case Mint(lifetime_seconds=seconds):
            return f"a token for {name} would be minted, for {seconds:g} s at most"
        case Attach(impersonate=True):
            return f"SlurmUser's token would be attached, acting as {name}"
        case Attach():
            return f"{name}'s token would be attached"
        case Passthrough():
            return "the caller's own token would be passed on"


def _nobody() -> Identity:
    """Stands where --user leaves out who asks. Its token lives for a second, which no role minds."""
    return Identity("", "", "", "user", (), 0.0, 1.0, "")


def _body_headers(
    method: str, path: str, length: int, catalogue: Catalogue
) -> list[tuple[bytes, bytes]]:
    """A POST or DELETE is explained with the body that its operation takes."""
    match = catalogue.match(method, path.partition("?")[0])
    if method == "GET" or match is None or not match.found.entry.operation.takes_body:
        return []
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
