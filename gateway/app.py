"""Gateway (the configuration) -> a Generation: every stage and edge that it describes, joined.

The only module, with its satellites app_*.py, that picks implementations. Importing it starts
nothing; `build` opens files, and `try_out` asks what can be asked without a request.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.app_audit import Recording, make_recording
from gateway.app_idempotency import Around, Idempotent, make_idempotent
from gateway.app_identity import Identification, Mapped, make_authenticate, make_map_user
from gateway.app_openapi import Parts, make_documents, open_documents
from gateway.app_shelf import Shelf
from gateway.app_upstream import (
    Issuing,
    Surroundings,
    Upstream,
    make_credential,
    make_slots,
    make_upstream,
)
from gateway.config.authorize import Authorize as AuthorizeSection
from gateway.config.gateway import Gateway
from gateway.config.limit import Limit as LimitSection
from gateway.config.limit import Rates
from gateway.edges.buckets import MemoryBuckets, read_rate
from gateway.edges.edited_file import FileUnusable
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates
from gateway.edges.few_threads import FewThreads
from gateway.edges.job_owners import SlurmJobOwners
from gateway.edges.key_turns import KeyTurns
from gateway.edges.own_answers import only_own_jobs
from gateway.edges.slots import FairSlots
from gateway.edges.spool import Spool, memory_body, unlinked_file
from gateway.model import AuditRecord, Clock, Risk
from gateway.pipeline import Pipeline
from gateway.slurm_api import Catalogue, read_catalogue
from gateway.slurm_api.policy import Policy, parse_policy
from gateway.stages.audit import AuditTrail
from gateway.stages.authorize import Authorize
from gateway.stages.body_rules import BodyRules
from gateway.stages.credential import CredentialDoubt
from gateway.stages.limit import Limit, Rate
from gateway.stages.own_jobs import OwnJobs
from gateway.stages.receive import Receive
from gateway.stages.receive_body import CheckBody
from gateway.token.challenge import bearer_challenge
from gateway.users.conditions import Condition, Conditions, read_hours
from gateway.web.audited import Audited
from gateway.web.portal import METADATA_PATH, build_portal
from gateway.web.relay import BodyDeadlines
from gateway.web.visit import Receive as FirstStage
from gateway.web.visit import Serving
from gateway.web.visit import Upstream as Forwarding

_NSS_THREADS = 8
_PARSING_THREADS = 1
"""Two would take turns at the one interpreter lock, and let the event loop wait for both."""


class BuildError(Exception):
    """The configuration is valid, but something that it names cannot be used; all of it is told."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("".join(f"\n  {problem}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What generations are built with, and what all of them share."""

    environ: Mapping[str, str]
    hash_key: bytes
    observers: tuple[Callable[[AuditRecord], None], ...] = ()
    catalogue: Catalogue = field(default_factory=read_catalogue)
    threads: FewThreads = field(default_factory=lambda: FewThreads(_NSS_THREADS))
    turns: KeyTurns = field(default_factory=lambda: KeyTurns(os.urandom(8).hex(), time.monotonic))


@dataclass(slots=True, eq=False)
class Generation:
    """One configuration with everything that serves it. `running` counts its requests."""

    config: Gateway
    shelf: Shelf
    identification: Identification
    mapped: Mapped
    issuing: Issuing
    upstream: Upstream
    slots: FairSlots
    recording: Recording
    idempotent: Idempotent
    attempts: AttemptMemory
    serving: Serving
    portal: Audited
    number: int = 0
    running: int = 0
    is_retired: bool = False
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def trail(self) -> AuditTrail:
        """The audit of what is served by itself."""
        return self.recording.trail

    def __post_init__(self) -> None:
        """What is served by it counts as running."""
        self.serving = replace(self.serving, ended=self.leave)

    def enter(self) -> Serving:
        """One more request; `leave` ends it."""
        self.running += 1
        return self.serving

    def leave(self) -> None:
        """The last one of a generation that was replaced lets go of it."""
        self.running -= 1
        if self.is_retired and not self.running:
            self.is_idle.set()

    def retire(self) -> None:
        """No more requests begin in it."""
        self.is_retired = True
        if not self.running:
            self.is_idle.set()


def build(config: Gateway, workshop: Workshop, shelf: Shelf | None = None) -> Generation:
    """Make every stage and edge. Raises BuildError. Whoever calls closes the shelf."""
    shelf = shelf or Shelf()
    buckets = shelf.take("buckets", MemoryBuckets)
    files = _open_files(config, workshop, shelf, buckets)
    issuing = _make_issuing(config, workshop, files.mapped)
    upstream = make_upstream(config.forward, shelf)
    slots = make_slots(config.forward, config.limit, shelf)
    check_body = make_check_body(config)
    policy = make_policy(config.authorize, workshop.catalogue)
    around = Around(config.server.state_directory, upstream.slurmrestd, slots, workshop.turns)
    idempotent = make_idempotent(config.idempotency, around, shelf)
    authorize = Authorize(workshop.catalogue, policy, make_conditions(config.authorize))
    pipeline = Pipeline(
        authenticate=files.identification.authenticate,
        map_user=files.mapped.map_user,
        authorize=authorize,
        check_body=check_body,
        limit=make_limit(config, buckets),
        body_rules=make_body_rules(policy, config.receive.maximum_ruled_body_bytes),
        slots=slots,
        credential=issuing.issue,
        own_jobs=OwnJobs(SlurmJobOwners(upstream.slurmrestd, time.monotonic), memory_body),
        audit=files.recording.trail,
        check_key=idempotent.check_key,
    )
    parts = Parts(upstream, slots, idempotent.upstream, shelf)
    documents = make_documents(config, authorize, parts)
    serving = make_serving(config, check_body, pipeline, documents)
    return Generation(
        config=config,
        shelf=shelf,
        identification=files.identification,
        mapped=files.mapped,
        issuing=issuing,
        upstream=upstream,
        slots=slots,
        recording=files.recording,
        idempotent=idempotent,
        attempts=shelf.take("failed-attempts", AttemptMemory),
        serving=serving,
        portal=make_portal(config, files.recording.trail, serving.receive),
    )


class _Files(NamedTuple):
    """The parts that read or open files as they are made."""

    identification: Identification
    mapped: Mapped
    recording: Recording


def _open_files(
    config: Gateway, workshop: Workshop, shelf: Shelf, buckets: MemoryBuckets
) -> _Files:
    """Raises BuildError with everything that cannot be used."""
    server = config.server
    problems: list[str] = []
    with _noting(problems, "authenticate"):
        identification = make_authenticate(
            config.authenticate,
            shelf,
            make_failure_budget(config.limit, buckets, shelf),
            resource_metadata=_metadata_url(config),
            hash_key=workshop.hash_key,
        )
    with _noting(problems, "map_user"):
        mapped = make_map_user(config.map_user, server.state_directory, workshop.threads, shelf)
    with _noting(problems, "audit"):
        recording = make_recording(config, workshop.observers, shelf)
    if problems:
        raise BuildError(problems)
    return _Files(identification, mapped, recording)


def _make_issuing(config: Gateway, workshop: Workshop, mapped: Mapped) -> Issuing:
    challenge = bearer_challenge(_metadata_url(config))
    around = Surroundings(mapped.directory, workshop.threads, challenge, workshop.environ)
    return make_credential(config, around)


def _metadata_url(config: Gateway) -> str:
    return config.server.public_url.rstrip("/") + METADATA_PATH


@contextmanager
def _noting(problems: list[str], place: str) -> Iterator[None]:
    """Collect what cannot be used, so that all of it is told at once."""
    try:
        yield
    except (FileUnusable, OSError, ValueError) as error:
        problems.append(f"{place}: {error}")


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
    )


def make_check_body(config: Gateway) -> CheckBody:
    """The caps on bodies."""
    section = config.receive
    return CheckBody(section.maximum_body_bytes, section.maximum_body_bytes_by_operation)


def make_policy(section: AuthorizeSection, catalogue: Catalogue) -> Policy:
    """The allowlist. Raises BuildError; `load` has told such mistakes with their remedies before."""
    policy, problems = parse_policy(section.roles, catalogue)
    if problems:
        raise BuildError([f"{problem.place}: {problem.what}" for problem in problems])
    return policy


def make_conditions(section: AuthorizeSection, now: Clock = time.time) -> Conditions | None:
    """None where every role is held always, which costs nothing."""
    by_role = {
        name: Condition(
            networks=tuple(ip_network(text) for text in role.networks),
            hours=tuple(map(read_hours, role.times)),
            zone=ZoneInfo(role.time_zone),
            maximum_token_seconds=role.maximum_token_seconds,
        )
        for name, role in section.roles.items()
        if role.has_conditions
    }
    return Conditions(by_role, now) if by_role else None


def make_body_rules(policy: Policy, maximum_bytes: int) -> BodyRules:
    """What roles may ask for in bodies."""
    by_role = {name: role.fields for name, role in policy.roles.items()}
    return BodyRules(by_role, FewThreads(_PARSING_THREADS), memory_body, maximum_bytes)


def make_limit(config: Gateway, buckets: MemoryBuckets) -> Limit:
    """Rates by class; the counters are the process's, whatever is reloaded."""
    return Limit(read_rates(config.limit.rates), buckets, config.limit.concurrent_per_identity)


def read_rates(rates: Rates) -> dict[Risk, Rate]:
    """One rate for each class, by the class's name in small letters."""
    return {
        risk: read_rate(risk.lower(), getattr(rates, risk.lower().replace("-", "_")))
        for risk in Risk
    }


def make_failure_budget(
    section: LimitSection, buckets: MemoryBuckets, shelf: Shelf
) -> FailedAttempts:
    """Failed authentications, remembered by the process whatever is reloaded."""
    rates = FailureRates(
        per_subject=read_rate(
            "failed-authentications-per-subject", section.failed_authentications_per_subject
        ),
        per_address=read_rate("failed-authentications", section.failed_authentications),
        expired=read_rate("expired-tokens", section.failed_authentications),
        longest_seconds=section.longest_refusal_seconds,
    )
    memory = shelf.take("failed-attempts", AttemptMemory)
    return FailedAttempts(rates, buckets, memory, time.monotonic)


def make_portal(config: Gateway, trail: AuditTrail, receive: FirstStage) -> Audited:
    """What the gateway answers by itself."""
    issuers = [issuer.issuer for issuer in config.authenticate.issuers]
    portal = build_portal(config.server.public_url, config.server.cluster, issuers)
    return Audited(portal, trail, receive.client)


def make_serving(
    config: Gateway, check_body: CheckBody, pipeline: Pipeline, upstream: Forwarding
) -> Serving:
    """What the proxy serves requests with."""
    section = config.receive
    return Serving(
        receive=make_receive(config),
        pipeline=open_documents(pipeline, is_open=config.authorize.openapi_without_token),
        upstream=upstream,
        spool=Spool(section.memory_body_bytes, config.server.state_directory),
        body_limit=check_body.limit_for,
        body_deadlines=BodyDeadlines(section.body_idle_seconds, section.body_seconds),
        minimum_bytes_per_second=config.forward.minimum_bytes_per_second,
        only_own_jobs=only_own_jobs,
    )


async def try_out(generation: Generation) -> None:
    """Use once what can be used without a request: the key, the state directory. Raises BuildError."""
    problems: list[str] = []
    if generation.issuing.try_out is not None:
        try:
            await generation.issuing.try_out()
        except CredentialDoubt as doubt:
            problems.append(f"credential: {doubt}")
    problems += try_state_directory(generation)
    if problems:
        raise BuildError(problems)


def try_state_directory(generation: Generation) -> list[str]:
    """What keeps bodies and bindings from being written."""
    directory: Path = generation.config.server.state_directory
    try:
        unlinked_file(directory).close()
        if generation.mapped.bindings is not None:
            generation.mapped.bindings.create()
        if generation.idempotent.store is not None:
            generation.idempotent.store.create()
    except (OSError, sqlite3.Error) as error:
        return [f"state directory {directory}: {error}"]
    return []
