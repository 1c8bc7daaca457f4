"""The parts of the lab that can be seen without starting anything: what it reads, writes, refuses and says."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import machine, mounts, places, releases
from lab.daemons import Daemon
from lab.fleet import Outcome, is_enough
from lab.identity_provider.node import WHEELS, locked_requirements
from lab.layout import layout_of
from lab.ports import choose_ports, free_port, is_free, remembered_ports
from lab.processes import LabError, Recorded, end, start_ticks_of
from lab.progress import Progress
from lab.submission import exit_code_of, state_of
from lab.toml_text import Settings, merged, to_toml

CONFTEST = places.CHECKOUT / "tests/conftest.py"


@pytest.mark.parametrize(
    ("version", "is_ours"),
    [
        ("22.05.8-4+deb12u3", True),
        ("22.05.0", True),
        ("22.0512.1", False),
        ("24.11.5-4", False),
        ("", False),
    ],
)
def test_a_suite_has_moved_when_it_offers_another_release(version: str, is_ours: bool) -> None:
    assert releases.named("bookworm").offers(version) is is_ours


def test_a_release_is_found_by_its_suite_and_by_its_number() -> None:
    assert releases.named("24.11") == releases.named("trixie")
    with pytest.raises(LookupError, match=r"no release 'buster'; there are bookworm \(22\.05\)"):
        releases.named("buster")


RUNNING, MOVED, LACKING, FAILED = (
    Outcome.RUNNING,
    Outcome.MOVED,
    Outcome.LACKING,
    Outcome.FAILED,
)


@pytest.mark.parametrize(
    ("outcomes", "asked_for_all", "is_fine"),
    [
        ([RUNNING, RUNNING, RUNNING, RUNNING], True, True),
        ([RUNNING, RUNNING, RUNNING, MOVED], True, True),
        ([RUNNING, RUNNING, MOVED, MOVED], True, False),
        ([RUNNING, RUNNING, RUNNING, FAILED], True, False),
        ([RUNNING, RUNNING, RUNNING, LACKING], True, False),
        ([RUNNING], False, True),
        ([MOVED], False, False),
    ],
)
def test_fewer_than_three_releases_are_a_failure(
    outcomes: list[Outcome], asked_for_all: bool, is_fine: bool
) -> None:
    assert is_enough(outcomes, asked_for_all, releases.minimum_usable()) is is_fine


@pytest.mark.parametrize(
    ("found", "root", "sentences"),
    [
        ({"apt-get": "/x", "sudo": None}, True, []),
        ({"apt-get": "/x", "sudo": "/x"}, False, ["root is missing: .* type: sudo make demo"]),
        ({"apt-get": "/x", "sudo": None}, False, ["root is missing, and so is sudo: become root"]),
        ({"apt-get": None, "sudo": None}, True, ["apt-get is missing: .* use Debian 12"]),
        ({}, False, ["apt-get is missing", "root is missing"]),
    ],
)
def test_all_that_the_machine_lacks_is_said_at_once_with_its_remedy(
    found: dict[str, str | None], root: bool, sentences: list[str]
) -> None:
    said = machine.missing(found, root=root)
    assert len(said) == len(sentences)
    for text, pattern in zip(said, sentences, strict=True):
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("status", "lacking"),
    [("CapEff:\t000001ffffffffff\n", 0), ("CapEff:\t00000000a80425fb\n", 1), ("", 1)],
)
def test_a_container_that_may_not_mount_is_told_so(status: str, lacking: int) -> None:
    """The second row is what docker gives root without --privileged."""
    assert len(machine.missing_for_chroots(status)) == lacking


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner.filter(lambda value: not isinstance(value, dict)), max_size=3),
    max_leaves=5,
)
TABLES = st.recursive(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), VALUES, max_size=4
    ),
    lambda inner: st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        VALUES | inner | st.lists(inner, min_size=1, max_size=2),
        max_size=4,
    ),
    max_leaves=8,
)


@given(TABLES)
def test_a_written_configuration_reads_back_as_it_was(settings: Settings) -> None:
    assert tomllib.loads(to_toml(settings)) == settings


def test_changes_are_laid_over_settings() -> None:
    below = {"a": {"x": 1, "y": 2}, "list": [1], "gone": 1}
    above = {"a": {"y": 3}, "list": [2], "gone": None, "new": {"z": 1}}
    assert merged(below, above) == {"a": {"x": 1, "y": 3}, "list": [2], "new": {"z": 1}}


@pytest.mark.parametrize(
    ("job", "state", "code"),
    [
        ({"job_state": "COMPLETED", "exit_code": 0}, "COMPLETED", 0),
        ({"job_state": "FAILED", "exit_code": 1792}, "FAILED", 7),
        ({"job_state": ["FAILED"], "exit_code": {"return_code": {"number": 7}}}, "FAILED", 7),
        (
            {"job_state": ["RUNNING", "COMPLETING"], "exit_code": {"return_code": {"number": 0}}},
            "RUNNING",
            0,
        ),
    ],
)
def test_a_job_says_its_state_in_every_version(job: Settings, state: str, code: int) -> None:
    assert (state_of(dict(job)), exit_code_of(dict(job))) == (state, code)


def test_a_daemon_is_started_with_what_its_unit_would_set(tmp_path: Path) -> None:
    there = layout_of(releases.named("bookworm"), tmp_path)
    command = ("/bin/sh", "-c", 'printf %s "$MALLOC_ARENA_MAX"')
    daemon = Daemon(there, "sh", command, "root", lambda: True)
    told = daemon.with_environment({"MALLOC_ARENA_MAX": "1"})
    done = subprocess.run(told.arguments, capture_output=True, text=True, check=True)
    assert done.stdout == "1"
    assert daemon.with_environment({}) is daemon


def test_ports_are_remembered_and_left_when_somebody_else_has_them(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, ("one", "two"))
    assert choose_ports(tmp_path, ("one", "two")) == first == remembered_ports(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first["two"]))
        other.listen()
        assert not is_free(first["two"])
        assert first["two"] not in choose_ports(tmp_path, ("one", "two")).values()


def test_two_folders_begin_their_search_in_different_places(tmp_path: Path) -> None:
    assert choose_ports(tmp_path / "a", ("one",)) != choose_ports(tmp_path / "b", ("one",))


MOUNTINFO = (
    "25 30 0:23 / /proc rw - proc proc rw\n"
    "99 30 0:23 / /srv/a\\040b/root/proc rw shared:9 - proc proc rw\n"
)


def test_a_mount_point_is_read_with_its_spaces() -> None:
    assert mounts.mount_points(MOUNTINFO) == [Path("/proc"), Path("/srv/a b/root/proc")]


@pytest.mark.skipif(bool(machine.missing() or machine.missing_for_chroots()), reason="cannot mount")
def test_nothing_is_deleted_below_a_mount(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("do not delete")
    inside = tmp_path / "tree" / "with spaces"
    inside.mkdir(parents=True)
    mounts.mount("--bind", str(precious), str(inside))
    try:
        with pytest.raises(LabError, match=r"still mounted; nothing below .* was deleted"):
            mounts.remove_tree(tmp_path / "tree")
        assert (inside / "file").exists()
    finally:
        mounts.unmount_below(tmp_path / "tree")
    mounts.remove_tree(tmp_path / "tree")
    assert (precious / "file").read_text() == "do not delete"
    assert not (tmp_path / "tree").exists()


def sleeper(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "pid", "sleep")


def test_a_recorded_process_is_found_and_stopped(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    pid = process.start(["sleep", "60"], tmp_path / "log")
    process.await_answer(lambda: True, 5, tmp_path / "log")
    assert process.pid() == pid
    assert process.stop()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)  # it has ended, but may not have been buried yet
    assert not start_ticks_of(pid)
    assert not process.stop()


LISTENER = """
import socket, sys, threading, time
with socket.socket() as listener:
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen()
    for _ in range(200):
        threading.Thread(target=time.sleep, args=[60], daemon=True).start()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_stopped_server_has_left_its_port(tmp_path: Path, attempt: int) -> None:
    """One with many threads: its first may be gone while the others still hold its sockets."""
    port, log = free_port(), tmp_path / "log"
    process = Recorded(tmp_path / "pid", "python")
    process.start([sys.executable, "-c", LISTENER, str(port)], log)
    process.await_answer(lambda: bool(log.read_text()), 30, log)
    assert not is_free(port)
    process.stop()
    assert is_free(port)


def test_no_two_that_want_a_port_at_once_are_given_the_same() -> None:
    """Processes, because several workers of a test run start their servers at the same moment."""
    ask = [
        sys.executable,
        "-c",
        "from lab.ports import free_port; [print(free_port()) for _ in range(50)]",
    ]
    asking = [subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    given = [port for one in asking for port in one.communicate(timeout=60)[0].split()]
    assert len(set(given)) == len(given) == 200


def test_a_daemon_keeps_no_descriptor_of_whoever_started_it(tmp_path: Path) -> None:
    """make and test runners wait for the other end of their pipes."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    process = sleeper(tmp_path)
    process.start(["sleep", "60"], tmp_path / "log")
    os.close(writing)
    try:
        assert select.select([reading], [], [], 5)[0], "the pipe has ended"
    finally:
        os.close(reading)
        process.stop()


def test_a_record_never_names_a_process_that_came_later_or_runs_something_else(
    tmp_path: Path,
) -> None:
    process = sleeper(tmp_path)
    pid = process.start(["sleep", "60"], tmp_path / "log")
    process.await_answer(lambda: True, 5, tmp_path / "log")
    try:
        assert Recorded(process.record, "slurmctld").pid() is None
        process.record.write_text(f"{pid} {int(start_ticks_of(pid)) - 1}\n")
        assert process.pid() is None
        assert not process.stop()
        assert start_ticks_of(pid)
    finally:
        end(pid)


def test_a_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    process.start(["sleep", "never"], tmp_path / "log")
    with pytest.raises(LabError, match=r"sleep ended at once; from .*\n.*invalid time interval"):
        process.await_answer(lambda: False, 5, tmp_path / "log")


def test_a_process_that_ignores_requests_is_killed(tmp_path: Path) -> None:
    process = Recorded(tmp_path / "pid", "bash")
    process.start(["bash", "-c", "trap '' TERM; while :; do sleep 1; done"], tmp_path / "log")
    process.await_answer(lambda: True, 5, tmp_path / "log")
    assert process.stop(seconds=0.3)


def test_a_folder_that_others_may_not_enter_is_not_used_for_sockets(tmp_path: Path) -> None:
    """pytest's folders are 0700; munged's and the job user's way would end there."""
    assert not places.is_reachable(tmp_path)
    assert places.is_reachable(Path("/usr"))


def test_a_private_file_is_private_from_the_start_and_replaced_at_once(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        places.write_private(tmp_path / "secret", content)
        assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "secret").read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_shared_lock_is_seen_by_who_would_stop_the_lab(tmp_path: Path) -> None:
    lock = tmp_path / "in-use"
    assert not places.is_locked(lock)
    with places.locked(lock, Progress("test"), "nothing", shared=True):
        assert places.is_locked(lock)
    assert not places.is_locked(lock)


def test_only_the_named_packages_are_taken_from_the_lock_file_with_their_hashes() -> None:
    lock = (places.CHECKOUT / "requirements/dev.txt").read_text()
    taken = locked_requirements(lock, WHEELS)
    names = [line.split("==")[0] for line in taken.splitlines() if line[:1].isalnum()]
    assert names == list(WHEELS)
    assert taken.count("--hash=sha256:") > len(WHEELS)


SKIPPING = """
import pytest
@pytest.mark.skipif(True, reason="no {what} here")
def test_by_mark(): ...
def test_by_call(): pytest.skip("{prefix}no {what} here")
@pytest.fixture
def thing(): pytest.skip("no {what} here")
def test_by_fixture(thing): ...
def test_that_passes(): ...
"""
SKIPPED_MODULE = 'import pytest\npytest.skip("not at all", allow_module_level=True)\n'


def run_pytest(folder: Path, text: str, require_all: str) -> tuple[int, str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_skipping.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "REQUIRE_ALL": require_all},
    )
    return done.returncode, done.stdout


def test_skips_stand_in_the_summary_by_name_with_their_reason(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SKIPPING.format(what="Slurm", prefix=""), "")
    assert code == 0
    for name in ("test_by_mark", "test_by_call", "test_by_fixture"):
        assert f"test_skipping.py::{name}: no Slurm here" in output


def test_a_skip_is_a_failure_where_everything_can_run(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SKIPPING.format(what="Slurm", prefix=""), "1")
    assert code == 1
    assert "1 passed" in output
    assert "1 failed" in output, "by call"
    assert "2 errors" in output, "by mark and by fixture, before the test began"
    assert "skipped, and REQUIRE_ALL=1 allows no skip: no Slurm here" in output


def test_a_module_that_skips_itself_is_a_failure_where_everything_can_run(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SKIPPED_MODULE, "1")[0] != 0


def test_a_suite_that_moved_is_no_failure_of_its_tests(tmp_path: Path) -> None:
    """That too many have moved is one failure of the lab's own test."""
    text = 'import pytest\ndef test_it(): pytest.skip("moved: sid offers Slurm 27.05")\n'
    code, output = run_pytest(tmp_path, text, "1")
    assert code == 0
    assert "test_it: moved: sid offers Slurm 27.05" in output
