"""A skip -> its name and reason in the summary, and a failure where REQUIRE_ALL=1 says that everything can run.

And a secret in anything that the tests wrote -> where it stands, and a run that has failed (canaries.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Generator, Iterator

import pytest
import uvloop
from hypothesis import settings

from lab.releases import releases
from lab.store import StoreServer
from tests.canaries import Leak, search
from tests.examples import ALL_EXAMPLES
from tests.order import Needs, Place, in_parts
from tests.revival import tell
from tests.store_world import running_store

# How long an example takes says how busy the machine is, and nothing of the code. A change is held to the same
# inputs each time; what nobody has thought of yet is looked for by test-long and fuzz.
settings.register_profile("untimed", deadline=None, derandomize=not ALL_EXAMPLES)
settings.load_profile("untimed")

MOVED = "moved: "
"""How the reason begins when a Debian suite has another Slurm by now; the lab's own tests count what is left."""

THE_ONE = releases()[0].suite
"""The release of the fixture one_slurm_release."""


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, as its author wrote it."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("REQUIRE_ALL") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = reason_of(report)
    if not reason.startswith(MOVED):
        report.outcome = "failed"
        report.longrepr = f"skipped, and REQUIRE_ALL=1 allows no skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See order.py. Every worker makes the same list."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = in_parts(items, workers, _place)


def _place(item: pytest.Item) -> Place:
    names = getattr(item, "fixturenames", ())
    if not {"slurm_release", "one_slurm_release"} & set(names):
        takes_seconds = "integration" in item.path.parts
        return Place(Needs.TIME, item.path.name) if takes_seconds else Place(Needs.NOTHING)
    callspec = getattr(item, "callspec", None)
    release = callspec.params.get("slurm_release", "") if callspec is not None else ""
    if "one_slurm_release" in names:
        release = THE_ONE
    disturbs = item.get_closest_marker("disturbs_slurm") is not None
    return Place(Needs.ALONE if disturbs else Needs.SHARED, str(release))


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A module that says ON_BOTH_LOOPS = True also runs on uvloop, which serves the gateway."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if isinstance(item, pytest.Function) and getattr(item.module, "ON_BOTH_LOOPS", False):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """One real Valkey or Redis for all tests of a worker; never stop it. Each test has keys of its own."""
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


_LEAKS = pytest.StashKey[list[Leak]]()


@pytest.fixture(scope="session", autouse=True)
def _everything_that_is_logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs in this process logs as a gateway would, stack traces included; it is searched at the end."""
    handler = logging.FileHandler(tmp_path_factory.getbasetemp() / "in-process.log")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    handler.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The controller searches what all of its workers have left behind."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # no other way outside of a test
    leaks = session.config.stash[_LEAKS] = search(factory.getbasetemp())
    if leaks and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    leaks = terminalreporter.config.stash.get(_LEAKS, [])
    if leaks:
        terminalreporter.section("SECRETS WHERE NONE SHOULD BE", sep="=", red=True)
    for leak in leaks:
        terminalreporter.write_line(f"{leak.path}: {leak.what}")
    tell(terminalreporter)
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("skipped by name", sep="-")
    for report in skipped:
        terminalreporter.write_line(f"{report.nodeid}: {reason_of(report)}")
