"""Gateway (the configuration) -> a Generation: every stage and edge that it describes, joined.

The only module, with its satellites app_*.py, that picks implementations. Importing it starts
nothing; `build` opens files, and `try_out` asks what can be asked without a request.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gateway.app_access import describe_access
from gateway.app_audit import Recording, make_recording
from gateway.app_breaker import make_guarded
from gateway.app_cache import Behind, Caching, make_cache
from gateway.app_idempotency import Around, Idempotent, make_idempotent
from gateway.app_identity import (
    Identification,
    Mapped,
    make_authenticate,
    make_map_user,
    make_trust,
)
from gateway.app_openapi import Parts, has_docs_page, make_answering, open_documents
from gateway.app_policy import (
    BuildError,
    make_authorize,
    make_body_rules,
    make_check_body,
    make_policy,
    make_receive,
    metadata_url,
)
from gateway.app_shelf import Shelf
from gateway.app_sign_in import SigningIn, make_sign_in
from gateway.app_store import Counters, make_counters, record_changes
from gateway.app_throttle import make_anonymous_budget, make_failure_budget, make_limit
from gateway.app_upstream import (
    Issuing,
    Surroundings,
    Upstream,
    make_credential,
    make_slots,
    make_upstream,
)
from gateway.config.gateway import Gateway
from gateway.edges.anonymous_requests import AnonymousRequests
from gateway.edges.bindings import BindingsFile
from gateway.edges.edited_file import FileUnusable
from gateway.edges.failed_attempts import AttemptMemory
from gateway.edges.few_threads import FewThreads
from gateway.edges.job_owners import SlurmJobOwners
from gateway.edges.key_store import SqliteKeyStore
from gateway.edges.key_turns import KeyTurns
from gateway.edges.late_writes import LateWrites
from gateway.edges.own_answers import only_own_jobs
from gateway.edges.session_store import SqliteSessionStore
from gateway.edges.slots import FairSlots
from gateway.edges.spool import Spool, memory_body, unlinked_file
from gateway.edges.store import Store
from gateway.model import Admission, AuditRecord
from gateway.pipeline import Pipeline
from gateway.request.request_id import RequestIds
from gateway.slurm_api import Catalogue, read_catalogue
from gateway.slurm_api.policy import Policy
from gateway.stages.audit import AuditTrail
from gateway.stages.authenticate import FailureBudget
from gateway.stages.authorize import Authorize
from gateway.stages.credential import CredentialDoubt
from gateway.stages.limit import Limit
from gateway.stages.own_jobs import OwnJobs
from gateway.stages.receive_body import CheckBody
from gateway.token.challenge import bearer_challenge
from gateway.web.audited import Audited
from gateway.web.express import Express
from gateway.web.portal import PublishedIssuer, build_portal
from gateway.web.relay import BodyDeadlines
from gateway.web.serving import Receive as FirstStage
from gateway.web.serving import Serving
from gateway.web.serving import Upstream as Forwarding
from gateway.web.sign_in.pages import DOCS_PATH, Pages

_NSS_THREADS = 8


@dataclass(frozen=True, slots=True)
class Workshop:
    """What generations are built with, and what all of them share."""

    environ: Mapping[str, str]
    hash_key: bytes
    observers: tuple[Callable[[AuditRecord], None], ...] = ()
    machine_directory: Path | None = None
    """What the processes of this machine share; the state directory where there is one process."""
    catalogue: Catalogue = field(default_factory=read_catalogue)
    threads: FewThreads = field(default_factory=lambda: FewThreads(_NSS_THREADS))
    late_writes: LateWrites = field(default_factory=LateWrites)
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
    limit: Limit
    idempotent: Idempotent
    attempts: AttemptMemory
    serving: Serving
    portal: Audited
    caching: Caching
    signing_in: SigningIn | None = None
    store: Store | None = None
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
        self.serving = replace(self.serving, ended=self.leave, express=self._express())

    def _express(self) -> Express:
        return Express(
            self.serving.pipeline,
            self.upstream.slurmrestd,
            self.slots,
            time.time,
            RequestIds().draw,
            self.enter_if_current,
            self.leave,
            self.limit.of_repeats,
            self.holds,
        )

    def holds(self, admission: Admission) -> bool:
        """Whether the first stages remember the caller as the same one."""
        request, identity, user = admission[:3]
        return self.identification.authenticate.holds(
            request, identity
        ) and self.mapped.map_user.holds(identity, user)

    def enter(self) -> Serving:
        """One more request; `leave` ends it."""
        self.running += 1
        return self.serving

    def enter_if_current(self) -> bool:
        """The same, unless another generation serves now."""
        if self.is_retired:
            return False
        self.running += 1
        return True

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
    counters = make_counters(config, shelf)
    files = _open_files(config, workshop, shelf, counters)
    behind = upstream, slots, issuing = _make_behind(config, workshop, files.mapped, shelf)
    idempotent, caching = _make_forwarding(config, workshop, behind, counters.store, shelf)
    check_body, limit = make_check_body(config), make_limit(config.limit, counters.rates)
    policy, authorize = _make_authorizing(config, workshop.catalogue)
    pipeline = Pipeline(
        authenticate=files.identification.authenticate,
        map_user=files.mapped.map_user,
        authorize=authorize,
        check_body=check_body,
        limit=limit,
        body_rules=make_body_rules(policy, config.receive.maximum_ruled_body_bytes),
        slots=slots,
        credential=issuing.issue,
        own_jobs=OwnJobs(SlurmJobOwners(caching.guarded.upstream, time.monotonic), memory_body),
        audit=files.recording.trail,
        check_key=idempotent.check_key,
        remember_key=idempotent.remember_key,
        goes_without_slot=caching.goes_without_slot,
    )
    parts = Parts(upstream, slots, caching.upstream, shelf, issuing.hand_out)
    answering = make_answering(config, authorize, parts)
    serving = make_serving(config, check_body, pipeline, answering, caching)
    return Generation(
        config=config,
        shelf=shelf,
        identification=files.identification,
        mapped=files.mapped,
        issuing=issuing,
        upstream=upstream,
        slots=slots,
        recording=files.recording,
        limit=limit,
        idempotent=idempotent,
        attempts=shelf.take("failed-attempts", AttemptMemory),
        serving=serving,
        portal=make_portal(config, files, policy, workshop.catalogue, serving.receive),
        caching=caching,
        signing_in=files.signing_in,
        store=counters.store,
    )


def _make_behind(
    config: Gateway, workshop: Workshop, mapped: Mapped, shelf: Shelf
) -> tuple[Upstream, FairSlots, Issuing]:
    """slurmrestd, its connections, and the tokens that it takes."""
    return (
        make_upstream(config.forward, workshop.late_writes, shelf),
        make_slots(config.forward, config.limit, shelf),
        _make_issuing(config, workshop, mapped),
    )


def _make_authorizing(config: Gateway, catalogue: Catalogue) -> tuple[Policy, Authorize]:
    policy = make_policy(config.authorize, catalogue)
    return policy, make_authorize(config, catalogue, policy)


def _make_forwarding(
    config: Gateway,
    workshop: Workshop,
    parts: tuple[Upstream, FairSlots, Issuing],
    store: Store | None,
    shelf: Shelf,
) -> tuple[Idempotent, Caching]:
    """What stands before slurmrestd, from the inside out."""
    upstream, slots, issuing = parts
    guarded = make_guarded(config.forward, upstream.slurmrestd, shelf)
    around = Around(guarded.upstream, slots, workshop.turns)
    idempotent = make_idempotent(config, around, shelf)
    behind = Behind(guarded, idempotent.upstream, slots, only_own_jobs, issuing.issue)
    return idempotent, make_cache(config.cache, behind, shelf, store)


class _Files(NamedTuple):
    """The parts that read or open files as they are made."""

    identification: Identification
    failures: FailureBudget
    mapped: Mapped
    recording: Recording
    signing_in: SigningIn | None
    anonymous: AnonymousRequests


def _open_files(config: Gateway, workshop: Workshop, shelf: Shelf, counters: Counters) -> _Files:
    """Raises BuildError with everything that cannot be used."""
    server = config.server
    problems: list[str] = []
    anonymous = make_anonymous_budget(config.limit, counters.rates, shelf)
    with _noting(problems, "authenticate"):
        trusted = make_trust(config.authenticate, shelf)
        with _noting(problems, "sign_in"):
            signing_in = make_sign_in(
                config, trusted.keys, trusted.deny_list, shelf, workshop.environ
            )
        failures = make_failure_budget(config, counters.local, shelf, counters.store)
        identification = make_authenticate(
            config.authenticate,
            trusted,
            failures,
            anonymous=anonymous,
            resource_metadata=metadata_url(config.server),
            hash_key=workshop.hash_key,
            sessions=None if problems or signing_in is None else signing_in.guard,
        )
    with _noting(problems, "map_user"):
        place = workshop.machine_directory or server.state_directory
        store = counters.store
        mapped = make_map_user(config.map_user, place, workshop.threads, shelf, store=store)
    with _noting(problems, "audit"):
        recording = make_recording(config, workshop.observers, workshop.late_writes, shelf)
    if problems:
        raise BuildError(problems)
    if counters.store is not None:
        record_changes(counters.store, recording.journal.event)
    return _Files(identification, failures, mapped, recording, signing_in, anonymous)


def _make_issuing(config: Gateway, workshop: Workshop, mapped: Mapped) -> Issuing:
    challenge = bearer_challenge(metadata_url(config.server))
    around = Surroundings(mapped.directory, workshop.threads, challenge, workshop.environ)
    return make_credential(config, around)


@contextmanager
def _noting(problems: list[str], place: str) -> Iterator[None]:
    """Collect what cannot be used, so that all of it is told at once."""
    try:
        yield
    except (FileUnusable, OSError, ValueError) as error:
        problems.append(f"{place}: {error}")


def make_portal(
    config: Gateway, files: _Files, policy: Policy, catalogue: Catalogue, receive: FirstStage
) -> Audited:
    """What the gateway answers by itself."""
    issuers = [
        PublishedIssuer(one.issuer, one.cli_client_id, one.cli_scopes)
        for one in config.authenticate.issuers
    ]
    cluster, house = config.server.cluster, None
    has_docs = has_docs_page(config)
    if files.signing_in is not None:
        pages = Pages(cluster, DOCS_PATH if has_docs else "")
        access = partial(describe_access, policy, catalogue, config.limit)
        house = files.signing_in.house(pages, files.failures, files.mapped.map_user, access)
    portal = build_portal(config.server.public_url, cluster, issuers, house, has_docs=has_docs)
    return Audited(portal, files.recording.trail, receive.client, files.anonymous)


def make_serving(
    config: Gateway,
    check_body: CheckBody,
    pipeline: Pipeline,
    upstream: Forwarding,
    caching: Caching,
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
        only_own_jobs=caching.only_own_jobs,
        select=caching.select,
        finish=caching.finish,
        guard_rides=caching.guarded.rides,
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
        if isinstance(generation.mapped.bindings, BindingsFile):
            generation.mapped.bindings.create()
        if isinstance(generation.idempotent.store, SqliteKeyStore):
            generation.idempotent.store.create()
        sessions = generation.signing_in.store if generation.signing_in else None
        if isinstance(sessions, SqliteSessionStore):
            sessions.create_file()
    except (OSError, sqlite3.Error) as error:
        return [f"state directory {directory}: {error}"]
    return []
