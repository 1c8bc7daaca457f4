"""(upstream, chosen variants) -> all of them running side by side, checked before they are timed."""

import pwd
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cells import Group, Upstream
from benchmarks.identity import CALLERS, Provider
from benchmarks.measure import HTTP_OK, Subject
from benchmarks.processes import free_port, running
from benchmarks.scene import Backend, Endpoint, Scene, Variant
from benchmarks.slurm import real_slurmrestd
from benchmarks.stub import stub
from benchmarks.wire import Answer, Connection, get_request

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
    group: Group, variants: Sequence[Variant], provider: Provider, folder: Path
) -> Iterator[Lineup]:
    """Start the backend and every variant; stop them all at the end."""
    with ExitStack() as stack:
        backend = stack.enter_context(_backend(group.upstream, folder))
        direct = _direct(backend, provider)
        subjects = [
            stack.enter_context(_subject(variant, group, direct, provider, folder))
            for variant in variants
        ]
        for variant, subject in zip(variants, subjects, strict=True):
            _check(variant, subject, direct)
        yield Lineup(direct, subjects)


@contextmanager
def _backend(upstream: Upstream, folder: Path) -> Iterator[Backend]:
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
    return Subject("direct", endpoint, backend, provider.certificate_file, tree=None)


@contextmanager
def _subject(
    variant: Variant, group: Group, direct: Subject, provider: Provider, folder: Path
) -> Iterator[Subject]:
    own = folder / f"{variant.name}-{group.upstream.value}{'-tls' if group.tls else ''}"
    own.mkdir()
    scene = Scene(own, direct.backend, provider, free_port(), group.tls)
    launch = variant.launch(scene)
    if launch is None:
        yield replace(direct, name=variant.name)
        return
    callers = [
        {"Authorization": f"Bearer {provider.token(direct.backend.slurm_user, number)}"}
        for number in range(CALLERS)
    ]
    endpoint = Endpoint(scene.port, group.tls, callers[0], callers[1:])
    log = own / "output.log"
    with running(launch.command, scene.port, log, launch.environment) as tree:
        yield Subject(variant.name, endpoint, direct.backend, provider.certificate_file, tree)


def _check(variant: Variant, subject: Subject, direct: Subject) -> None:
    """Hold a variant to its job: the backend's answer for a good token, 401 for bad or none."""
    expected, got = _ask(direct), _ask(subject)
    if got.status != HTTP_OK or abs(got.body_bytes - expected.body_bytes) > _drift(subject):
        raise UnfitError(f"{variant.name} answers {got}, {subject.backend.name} {expected}")
    if variant.verifies:
        for headers in ({}, _forged(subject.endpoint)):
            refused = _ask(replace(subject, endpoint=replace(subject.endpoint, headers=headers)))
            if refused.status != HTTP_UNAUTHORIZED:
                raise UnfitError(f"{variant.name} answers {refused} to a missing or forged token")


def _ask(subject: Subject) -> Answer:
    request = get_request(subject.backend.small_target, subject.endpoint)
    with Connection(subject.endpoint, subject.authority) as connection:
        return connection.ask(request)


def _drift(subject: Subject) -> int:
    """Return by how many bytes two answers may differ: a ping carries a latency in its text."""
    return 0 if subject.backend.name == Upstream.STUB.value else 16


def _forged(endpoint: Endpoint) -> dict[str, str]:
    """Return the same headers with another signature of the same length."""
    kept, _, signature = endpoint.headers["Authorization"].rpartition(".")
    other = "A" * len(signature)
    return {**endpoint.headers, "Authorization": f"{kept}.{other}"}
