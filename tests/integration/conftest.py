"""The lab -> fixtures: real Slurm releases, a real OpenID provider, and the real gateway between them.

For authors of tests (everything below is started on demand, shared by all workers, and left running):

slurm_release         session, once for each usable release of lab/releases.toml: a lab.slurm.SlurmRelease
one_slurm_release     session: Slurm 22.05 alone, for what does not depend on the release
identity_provider     session: a lab.identity_provider.IdentityProvider; never stop it or rotate its keys
new_identity_provider factory: new_identity_provider(access_token_lifetime_seconds=5), a test's own to disturb
gateway               factory: gateway(release, {"limit": {...}}) starts slurm-gateway with changes laid over
                      lab.gateway.settings_for (None takes a key away; rates never refuse unless changed)
shared_gateway        factory, session: shared_gateway(release, changes), one for all that want the same

A release: .name .api_versions[0] .url .socket .key_file .run("squeue", "-h", user="bob") .token("alice")
  .request("alice", "GET", "/slurm/v0.0.38/jobs") asks slurmrestd directly: (status, body)
  .path_of("/tmp/x") .owner_of("/tmp/x") where a job's file lies on this machine, and whose it is
  .stop("slurmctld") .kill("slurmrestd") .start("slurmctld") .pid_of("slurmrestd") .log_of("slurmctld")
A provider: .issuer .jwks_url .token_for("bob") .tokens_for("bob") .machine_token() .rotate_keys() .down() .up()
  logs in alice, bob (hpc-operators), carol (no association in Slurm), dave (no Linux user) and root
A gateway: .url .operations_url .ca_file .audit_file .log .pid .settings .write_configuration({...}) .start() .stop()
  .ask("GET", "/slurm/v0.0.38/jobs", token, body=None, headers=None): .status .headers .body .json()
  .connect() a TLS connection (http.client); .audit_record(request_id) the record of one request
Jobs: lab.submission.submission(api_version, script, output="/tmp/x-%j") and state_of(job), for every version.

A test that stops daemons carries @pytest.mark.disturbs_slurm: it then has the release for itself among all
workers, and everything is started again after it. Others share the release with each other.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from lab import machine, places
from lab.fleet import in_use
from lab.gateway import Answer, GatewayProcess, settings_for
from lab.identity_provider import IdentityProvider
from lab.machine import MachineLacksError
from lab.ports import free_port
from lab.progress import Progress
from lab.releases import releases
from lab.rootfs import MovedError
from lab.slurm import SlurmRelease, all_releases
from lab.toml_text import Settings, merged
from tests.forked import launch
from tests.revival import revive
from tests.serving import PROBLEM, keep_answer

NEVER = "100000/second"
RATES = (
    "read",
    "read-heavy",
    "read-accounting",
    "read-sensitive",
    "read-bulk",
    "submit",
    "allocate",
    "job-write",
    "job-write-bulk",
    "acct-job-write",
    "admin",
    "util",
    "mint-token",
)
GENEROUS = {
    "receive": {"maximum_ruled_body_bytes": 52_428_800},
    "limit": {
        "rates": dict.fromkeys(RATES, NEVER),
        "failed_authentications": NEVER,
        "anonymous_requests": NEVER,
    },
}

MOST_SHARED = 12
"""Gateways that a worker keeps; who was not asked for the longest time goes first."""

StartGateway = Callable[..., GatewayProcess]
NewProvider = Callable[..., IdentityProvider]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "disturbs_slurm: stops or kills daemons of a release, so nobody else may use it"
    )
    config.addinivalue_line("markers", "settle(seconds): idempotency.settle_seconds of this test")
    config.addinivalue_line(
        "markers",
        "long_on(releases): on these it is in the long form alone, because others do the same",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before -m looks at the marks."""
    for item in items:
        marker = item.get_closest_marker("long_on")
        if marker is not None and _release_of(item) in marker.args:
            item.add_marker("long")


def _release_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("slurm_release")


@pytest.fixture(scope="session")
def real_things() -> Iterator[None]:
    """Skip where the real parts cannot run; otherwise keep the lab up for the whole session."""
    if lacking := machine.missing():
        pytest.skip("; ".join(lacking))
    with in_use(Progress("lab")):
        yield


def _hold(release: SlurmRelease, *, shared: bool) -> AbstractContextManager[None]:
    lock = release.layout.folder / "tests-lock"
    return places.locked(lock, Progress(release.name), "tests on other workers", shared=shared)


def _running(name: str) -> SlurmRelease:
    release = SlurmRelease.named(name)
    try:
        with _hold(release, shared=True):
            release.up()
    except MovedError as moved:
        pytest.skip(f"moved: {moved}")
    except MachineLacksError as lacking:
        pytest.skip(str(lacking))
    return release


@pytest.fixture(scope="session", params=[release.suite for release in releases()])
def slurm_release(request: pytest.FixtureRequest, real_things: None) -> SlurmRelease:
    """Each usable release in turn."""
    return _running(request.param)


@pytest.fixture(scope="session")
def one_slurm_release(real_things: None) -> SlurmRelease:
    """The release that the demo runs on."""
    return _running(releases()[0].suite)


@pytest.fixture
def every_release(real_things: None) -> Iterator[list[SlurmRelease]]:
    """All releases at once, whatever became of them, while nobody stops their daemons."""
    with ExitStack() as stack:
        for release in all_releases():
            stack.enter_context(_hold(release, shared=True))
        yield all_releases()


@pytest.fixture(autouse=True)
def _share_or_own_the_release(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep those who stop daemons apart from those who need them, among all workers."""
    wanted = {"slurm_release", "one_slurm_release"} & set(request.fixturenames)
    if not wanted:
        yield
        return
    release: SlurmRelease = request.getfixturevalue(wanted.pop())
    disturbs = request.node.get_closest_marker("disturbs_slurm") is not None
    with _hold(release, shared=not disturbs):
        revive(release, request.node)
        yield
        if disturbs:
            release.up()


@pytest.fixture(scope="session")
def identity_provider(real_things: None) -> IdentityProvider:
    """The provider that everybody shares."""
    provider = IdentityProvider()
    provider.up()
    return provider


@pytest.fixture
def new_identity_provider(real_things: None) -> Iterator[NewProvider]:
    """Make providers of this test's own; they and their keys are gone after it."""
    made: list[IdentityProvider] = []

    def start(*, access_token_lifetime_seconds: int = 900) -> IdentityProvider:
        name = f"test-{uuid.uuid4().hex[:12]}"
        provider = IdentityProvider(
            name, access_token_lifetime_seconds=access_token_lifetime_seconds
        )
        made.append(provider)
        provider.up()
        return provider

    yield start
    for provider in made:
        provider.down()
        shutil.rmtree(provider.log.parent)


def _start(
    release: SlurmRelease, provider: IdentityProvider, folder: Path, changes: Settings
) -> GatewayProcess:
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_for(release, provider, folder, free_port(), free_port())
    process = GatewayProcess(folder, merged(merged(settings, GENEROUS), changes))

    def keep(answer: Answer) -> None:
        if answer.headers.get_content_type() == PROBLEM:
            keep_answer(folder, bytes(answer.headers) + answer.body)

    process.hear, process.launch = keep, launch
    process.start()
    return process


def _stop(process: GatewayProcess) -> None:
    with suppress(OSError), urlopen(f"{process.operations_url}/metrics", timeout=60) as metrics:  # noqa: S310 (http, ours)
        keep_answer(process.folder, metrics.read())
    process.stop()


@pytest.fixture
def gateway(tmp_path: Path, identity_provider: IdentityProvider) -> Iterator[StartGateway]:
    """Start gateways of this test's own; they are stopped after it."""
    made: list[GatewayProcess] = []

    def start(
        release: SlurmRelease,
        changes: Settings | None = None,
        provider: IdentityProvider = identity_provider,
    ) -> GatewayProcess:
        folder = tmp_path / f"gateway-{len(made)}"
        made.append(_start(release, provider, folder, changes or {}))
        return made[-1]

    yield start
    for process in made:
        _stop(process)


@pytest.fixture(scope="session")
def shared_gateway(
    tmp_path_factory: pytest.TempPathFactory, identity_provider: IdentityProvider
) -> Iterator[StartGateway]:
    """One gateway for each release and configuration, for tests that only send requests."""
    made: dict[str, GatewayProcess] = {}

    def get(release: SlurmRelease, changes: Settings | None = None) -> GatewayProcess:
        name = f"{release.name} {json.dumps(changes, sort_keys=True)}"
        found = made.pop(name, None)
        if found is None:
            folder = tmp_path_factory.mktemp("gateway") / release.name
            found = _start(release, identity_provider, folder, changes or {})
        made[name] = found
        if len(made) > MOST_SHARED:
            _stop(made.pop(next(iter(made))))
        return found

    yield get
    for process in made.values():
        _stop(process)
