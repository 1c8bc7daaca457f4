"""(group, backend, chosen variants) -> all of them running side by side, checked before they are timed."""

import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cells import Group, Upstream
from benchmarks.identity import LIFETIME_SECONDS, Provider
from benchmarks.measure import HTTP_OK, Subject
from benchmarks.processes import running
from benchmarks.scene import Backend, Endpoint, Scene, Variant
from benchmarks.slurm import real_slurmrestd
from benchmarks.stub import stub
from benchmarks.submits import held_jobs
from benchmarks.wire import Answer, Connection, get_request
from lab.ports import free_port
from lab.store import StoreServer

HTTP_UNAUTHORIZED = 401


class UnfitError(Exception):
    """A variant does not do what it is compared for, so its speed means nothing."""


@dataclass(frozen=True)
class Lineup:
    """The variants that run, and the straight way to the same backend."""

    direct: Subject
    subjects: Sequence[Subject]


@contextmanager
def lineup(
    group: Group,
    backend: Backend,
    variants: Sequence[Variant],
    provider: Provider,
    folder: Path,
) -> Iterator[Lineup]:
    """Start every variant; stop them all at the end."""
    with ExitStack() as stack:
        direct = _direct(backend, provider)
        store = stack.enter_context(_store()) if group.processes > 1 else None
        callers = [
            {"Authorization": f"Bearer {provider.token(backend.slurm_user, number)}"}
            for number in range(group.callers)
        ]
        subjects = [
            stack.enter_context(
                _subject(variant, group, direct, callers, store=store, folder=folder)
            )
            for variant in variants
        ]
        for variant, subject in zip(variants, subjects, strict=True):
            _check(variant, subject, direct)
        if group.jobs:
            stack.enter_context(held_jobs(direct, group.jobs))
        yield Lineup(direct, subjects)


@contextmanager
def _store() -> Iterator[StoreServer]:
    """Run what several processes of the gateway share, as docs/scale.md demands it."""
    with TemporaryDirectory() as folder:  # a short path: it holds a UNIX socket
        server = StoreServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def backend_of(upstream: Upstream, folder: Path) -> Iterator[Backend]:
    """Run what stands behind the variants, until the end."""
    own = folder / upstream.value
    own.mkdir(exist_ok=True)
    match upstream:
        case Upstream.STUB:
            with stub(own, ordinary_user()) as backend:
                yield backend
        case Upstream.SLURM:
            with real_slurmrestd() as backend:
                yield backend


def ordinary_user() -> str:
    """Return an account that map_user accepts: the stub does not mind which."""
    for account in pwd.getpwall():
        if 1000 <= account.pw_uid < 65534:
            return account.pw_name
    return "nobody"


def _direct(backend: Backend, provider: Provider) -> Subject:
    headers = {
        "X-SLURM-USER-NAME": backend.slurm_user,
        "X-SLURM-USER-TOKEN": backend.slurm_token,
    }
    endpoint = Endpoint(backend.port, tls=False, headers=headers)
    return Subject("direct", endpoint, backend, provider, tree=None)


@contextmanager
def _subject(
    variant: Variant,
    group: Group,
    direct: Subject,
    callers: Sequence[Mapping[str, str]],
    *,
    store: StoreServer | None,
    folder: Path,
) -> Iterator[Subject]:
    own = folder / f"{variant.name}-{group.name}"
    own.mkdir()
    scene = Scene(
        own,
        direct.backend,
        direct.provider,
        free_port(),
        group.tls,
        group.processes,
        store,
        group.cache,
    )
    launch = variant.launch(scene)
    if launch is None:
        yield replace(direct, name=variant.name)
        return
    endpoint = Endpoint(scene.port, group.tls, callers[0], callers[1:])
    log = own / "output.log"
    with running(launch.command, scene.port, log, launch.environment) as tree:
        yield replace(direct, name=variant.name, endpoint=endpoint, tree=tree)


def _check(variant: Variant, subject: Subject, direct: Subject) -> None:
    """Hold a variant to its job: the backend's answer for a good token, 401 for bad ones or none."""
    expected, got = _ask(direct), _ask(subject)
    if got.status != HTTP_OK or abs(got.body_bytes - expected.body_bytes) > _drift(subject):
        raise UnfitError(f"{variant.name} answers {got}, {subject.backend.name} {expected}")
    if variant.verifies:
        for what, headers in _refused(subject).items():
            refused = _ask(replace(subject, endpoint=replace(subject.endpoint, headers=headers)))
            if refused.status != HTTP_UNAUTHORIZED:
                raise UnfitError(f"{variant.name} answers {refused} to {what}")


def _ask(subject: Subject) -> Answer:
    request = get_request(subject.backend.small_target, subject.endpoint)
    with Connection(subject.endpoint, subject.authority) as connection:
        return connection.ask(request)


def _drift(subject: Subject) -> int:
    """Return by how many bytes two answers may differ: a ping carries a latency in its text."""
    return 0 if subject.backend.name == Upstream.STUB.value else 16


def _refused(subject: Subject) -> dict[str, Mapping[str, str]]:
    """Return header fields that nobody may be let in with, by what they are."""
    user, token = subject.backend.slurm_user, subject.provider.token
    expired = token(user, issued_ago_seconds=LIFETIME_SECONDS + 3600)
    foreign = token(user, issuer="https://elsewhere.example")
    return {
        "no token": {},
        "a forged token": _forged(subject.endpoint),
        "an expired token": {"Authorization": f"Bearer {expired}"},
        "another issuer's token": {"Authorization": f"Bearer {foreign}"},
    }


def _forged(endpoint: Endpoint) -> dict[str, str]:
    """Return the same headers with another signature of the same length."""
    kept, _, signature = endpoint.headers["Authorization"].rpartition(".")
    other = "A" * len(signature)
    return {**endpoint.headers, "Authorization": f"{kept}.{other}"}
