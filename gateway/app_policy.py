"""[server], [receive], [authorize] -> what is decided without asking anybody: forms, sizes, allowlist, roles, rules."""

import time
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from gateway.config.authorize import Authorize as AuthorizeSection
from gateway.config.authorize import Role
from gateway.config.gateway import Gateway
from gateway.config.server import Server
from gateway.denial import Reason
from gateway.edges.few_threads import FewThreads
from gateway.edges.spool import memory_body
from gateway.model import Clock
from gateway.slurm_api import Catalogue
from gateway.slurm_api.policy import Policy, parse_policy, read_names
from gateway.stages.authorize import Authorize
from gateway.stages.body_rules import BodyRules
from gateway.stages.receive import Receive
from gateway.stages.receive_body import CheckBody
from gateway.token.challenge import bearer_challenge
from gateway.users.assurance import Assurance, StepUp
from gateway.users.conditions import Condition, Conditions, read_hours
from gateway.web.portal import METADATA_PATH

_PARSING_THREADS = 1
"""Two would take turns at the one interpreter lock, and let the event loop wait for both."""


class BuildError(Exception):
    """The configuration is valid, but something that it names cannot be used; all of it is told."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("".join(f"\n  {problem}" for problem in problems))
        self.problems = tuple(problems)


def make_policy(section: AuthorizeSection, catalogue: Catalogue) -> Policy:
    """The allowlist. Raises BuildError; `load` has told such mistakes with their remedies before."""
    policy, problems = parse_policy(section.roles, catalogue)
    if problems:
        raise BuildError([f"{problem.place}: {problem.what}" for problem in problems])
    return policy


def make_body_rules(policy: Policy, maximum_bytes: int) -> BodyRules:
    """What roles may ask for in bodies."""
    by_role = {name: role.fields for name, role in policy.roles.items()}
    return BodyRules(by_role, FewThreads(_PARSING_THREADS), memory_body, maximum_bytes)


def make_conditions(section: AuthorizeSection, now: Clock = time.time) -> Conditions | None:
    """None where every role is held always, which costs nothing."""
    by_role = {
        name: Condition(
            networks=tuple(ip_network(text) for text in role.networks),
            hours=tuple(map(read_hours, role.times)),
            zone=ZoneInfo(role.time_zone),
            maximum_token_seconds=role.maximum_token_seconds,
            assurance=_assurance(role),
        )
        for name, role in section.roles.items()
        if role.has_conditions
    }
    return Conditions(by_role, now) if by_role else None


def _assurance(role: Role) -> Assurance | None:
    if not role.asks_for_strength:
        return None
    return Assurance(role.acr_values, role.maximum_authentication_seconds)


def make_step_up(
    section: AuthorizeSection, catalogue: Catalogue, resource_metadata: str, now: Clock = time.time
) -> StepUp | None:
    """None where nothing is asked of anybody's sign-in, which costs nothing."""
    by_name: dict[str, tuple[Assurance, ...]] = {}
    for rule in section.step_up:
        wanted = Assurance(rule.acr_values, rule.maximum_authentication_seconds)
        for name in read_names("", rule.operations, catalogue)[0]:
            by_name[name] = (*by_name.get(name, ()), wanted)
    if not by_name and not any(role.asks_for_strength for role in section.roles.values()):
        return None
    sentence = Reason.INSUFFICIENT_USER_AUTHENTICATION.sentence
    challenge = partial(_challenge, resource_metadata, sentence)
    return StepUp(by_name, challenge, now)


def _challenge(resource_metadata: str, sentence: str, acr_values: str, max_age: str) -> str:
    return bearer_challenge(
        resource_metadata,
        "insufficient_user_authentication",
        sentence,
        acr_values=acr_values,
        max_age=max_age,
    )


def metadata_url(server: Server) -> str:
    """Where clients learn who issues tokens (RFC 9728)."""
    return server.public_url.rstrip("/") + METADATA_PATH


def make_receive(config: Gateway) -> Receive:
    """The first stage."""
    server = config.server
    return Receive(
        maximum_url_bytes=config.receive.maximum_url_bytes,
        maximum_header_bytes=server.maximum_header_bytes,
        maximum_header_fields=server.maximum_header_fields,
        trusted_proxies=server.trusted_proxies,
        trust_unix_peer=server.trust_unix_peer,
        accept_yaml=config.receive.accept_yaml,
        has_sessions=bool(config.sign_in.clients),
        has_cache=config.cache.enabled,
    )


def make_check_body(config: Gateway) -> CheckBody:
    """The caps on bodies."""
    section = config.receive
    return CheckBody(section.maximum_body_bytes, section.maximum_body_bytes_by_operation)


def make_authorize(config: Gateway, catalogue: Catalogue, policy: Policy) -> Authorize:
    """The stage, with the challenges for whoever's token or sign-in is not enough."""
    section, metadata = config.authorize, metadata_url(config.server)
    sentence = Reason.OPERATION_UNLISTED.sentence
    challenge = bearer_challenge(metadata, "insufficient_scope", sentence)
    step_up = make_step_up(section, catalogue, metadata)
    return Authorize(catalogue, policy, make_conditions(section), challenge, step_up)
