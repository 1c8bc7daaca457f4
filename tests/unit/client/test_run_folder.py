"""A folder of job files: each is one job, whatever breaks, and each ends up in its place with its answer."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.client.folder.incoming import Incoming
from gateway.client.folder.journal import Journal
from gateway.client.folder.places import Places
from gateway.client.trouble import Exit, Trouble
from tests.client_world import Told, problem, running_gateway
from tests.folder_world import KILLED, SCRIPT, SUBMIT, FolderGateway, answer_of, drop, names, work

ROOT = Path(__file__).parents[3]
JOB = "GET /slurm/v0.0.42/job/1"
LIVES = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


@pytest.fixture
def site() -> Iterator[FolderGateway]:
    with running_gateway(FolderGateway) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "jobs"
    made.mkdir(mode=0o700)
    return made


def broken_off(site: FolderGateway, root: Path, how: str, at_once: int) -> list[list[int]]:
    """(first end, second end) of each run-folder that was broken off at one more moment than the last."""
    command = [sys.executable, "-m", "tests.folder_world", site.url, str(root), how, str(at_once)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    codes: list[list[int]] = json.loads(done.stdout)
    return codes


def check_all(site: FolderGateway, root: Path, count: int) -> None:
    made = site.submissions()
    for number in range(count):
        folder = root / str(number)
        assert names(folder) == [".slurm-gateway", "done", "failed", "running"], number
        assert names(folder / "running") == names(folder / "failed") == [], number
        answers = ["a.sh", "a.sh.answer.json", "b.sh", "b.sh.answer.json"]
        assert names(folder / "done") == answers, number
        assert names(folder / ".slurm-gateway") == ["journal", "lock"], number
        for name in ("a.sh", "b.sh"):
            assert made.count(f"{number}-{name}") == 1, number
            assert answer_of(folder / "done" / name)["state"] == "COMPLETED", number


@pytest.mark.parametrize("at_once", [1, 2])
def test_killed_before_each_step_in_turn_every_file_is_one_job(
    site: FolderGateway, tmp_path: Path, at_once: int
) -> None:
    codes = broken_off(site, tmp_path, "kill", at_once)
    assert codes[-1] == [0, 0]
    assert all(code == [KILLED, 0] for code in codes[:-1])
    assert len(codes) > 40, "hardly a step was seen"
    check_all(site, tmp_path, len(codes))


def test_a_disk_that_is_full_at_each_length_loses_and_repeats_nothing(
    site: FolderGateway, tmp_path: Path
) -> None:
    codes = broken_off(site, tmp_path, "full", 1)
    assert codes[-1] == [0, 0]
    assert all(code == [Exit.LOCAL_FILE, 0] for code in codes[:-1])
    assert len(codes) > 10
    check_all(site, tmp_path, len(codes))


def test_one_after_another_in_the_order_in_which_they_came(
    site: FolderGateway, folder: Path
) -> None:
    for age, name in enumerate(("c.sh", "a.sh", "b.sh")):
        drop(folder, name)
        os.utime(folder / name, (1000 + age, 1000 + age))
    assert work(site.url, folder) == 0
    assert site.submissions() == ["jobs-c.sh", "jobs-a.sh", "jobs-b.sh"]


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (5, 3)])
def test_no_more_than_so_many_at_once(
    site: FolderGateway, folder: Path, at_once: int, most: int
) -> None:
    drop(folder, "a.sh", "b.sh", "c.sh")
    site.lasts = 3
    assert work(site.url, folder, at_once=at_once) == 0
    assert site.most_open == most


def test_a_job_that_fails_and_a_file_that_is_none_go_to_failed_and_the_others_go_on(
    site: FolderGateway, folder: Path
) -> None:
    drop(folder, "bad.sh", "good.sh")
    site.ends["jobs-bad.sh"] = ("FAILED", 3)
    (folder / "notes.txt").write_text("milk\n")
    (folder / "none.json").write_text("[1]")
    (folder / "big.sh").write_bytes(b"#!/bin/sh\n" + b"#" * 5_000_000)
    told: list[tuple[str, str]] = []
    assert work(site.url, folder, lambda *one: told.append(one)) == Exit.REFUSED_BY_SLURM
    assert names(folder / "done") == ["good.sh", "good.sh.answer.json"]
    bad = answer_of(folder / "failed/bad.sh")
    assert (bad["state"], bad["exit_code"], bad["outcome"]) == ("FAILED", 3, "failed")
    assert "does not begin with #!" in answer_of(folder / "failed/notes.txt")["error"]
    assert "describes no job" in answer_of(folder / "failed/none.json")["error"]
    assert "Slurm takes scripts of up to" in answer_of(folder / "failed/big.sh")["error"]
    assert ("good.sh", "job 2 COMPLETED, exit code 0 → done/good.sh") in told
    assert sorted(site.submissions()) == ["jobs-bad.sh", "jobs-good.sh"]


def test_a_name_that_comes_again_meets_no_other(site: FolderGateway, folder: Path) -> None:
    for _ in range(3):
        drop(folder, "job.sh", "plain")
        assert work(site.url, folder) == 0
    kept = ["job-2.sh", "job-3.sh", "job.sh", "plain", "plain-2", "plain-3"]
    both = sorted([*kept, *(f"{one}.answer.json" for one in kept)])
    assert names(folder / "done") == both
    ids = {answer_of(folder / "done" / one)["job_id"] for one in kept}
    assert ids == set(range(1, 7))


def test_a_name_that_comes_again_while_its_job_runs_is_another_job(
    site: FolderGateway, folder: Path
) -> None:
    drop(folder, "job.sh")
    site.first = [Told(502, b"<html>", "text/html")]

    def tell(_: str, what: str) -> None:
        if what.startswith("waits"):
            drop(folder, "job.sh")

    assert work(site.url, folder, tell) == 0
    assert site.submissions() == ["jobs-job.sh"] * 2
    assert len(site.names) == 2
    assert len(names(folder / "done")) == 4


def test_a_name_of_any_length_has_room_for_its_answer(site: FolderGateway, folder: Path) -> None:
    name = "é" * 124 + ".sh"
    for _ in range(2):
        (folder / name).write_text(SCRIPT.format(name="long"))
        assert work(site.url, folder) == 0
    assert len(names(folder / "done")) == 4
    assert all(one.endswith((".sh", ".answer.json")) for one in names(folder / "done"))


def test_a_file_is_taken_once_it_keeps_still(folder: Path) -> None:
    clock = [0.0]
    incoming = Incoming(folder, 3.0, lambda: clock[0])
    (folder / "job.sh").write_text("#!/bin/sh\n")
    assert (incoming.look().whole, incoming.look().waiting) == ([], 1)
    clock[0] = 2.9
    (folder / "job.sh").write_text("#!/bin/sh\ntrue\n")
    assert incoming.look().waiting == 1
    clock[0] = 5.8
    assert incoming.look().waiting == 1
    clock[0] = 5.9
    assert incoming.look().whole == ["job.sh"]


@LIVES
def test_a_file_that_somebody_still_writes_to_is_left_alone(folder: Path) -> None:
    incoming = Incoming(folder, 0.0)
    with (folder / "job.sh").open("w") as file:
        file.write("#!/bin/sh\n")
        file.flush()
        assert (incoming.look().whole, incoming.look().waiting) == ([], 1)
    assert incoming.look().whole == ["job.sh"]


@pytest.mark.parametrize(
    "name", [".job.sh", "job.sh.part", "job.sh~", "job.sh.tmp", "job.sh.filepart", ".job.sh.swp"]
)
def test_a_name_of_an_unfinished_file_is_none(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    seen = Incoming(folder, 0.0).look()
    assert (seen.whole, seen.waiting, seen.odd) == ([], 0, {})


def test_links_and_pipes_are_left_alone_and_said_once(
    site: FolderGateway, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("#!/bin/sh\n")
    (folder / "link.sh").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    (folder / "below").mkdir()
    drop(folder, "job.sh")
    told: list[tuple[str, str]] = []
    assert work(site.url, folder, lambda *one: told.append(one)) == 0
    alone = [one for one in told if "left alone" in one[1]]
    assert sorted(name for name, _ in alone) == ["link.sh", "pipe"]
    assert (folder / "link.sh").is_symlink()
    assert site.submissions() == ["jobs-job.sh"]


def test_a_file_that_became_a_link_when_it_was_taken_is_not_read(
    site: FolderGateway, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SCRIPT.format(name="secret"))
    places = Places(folder)
    places.prepare()
    (folder / "running/job.sh").symlink_to(secret)
    Journal(places.journal).note("k1", name="job.sh", running="job.sh")
    assert work(site.url, folder) == Exit.REFUSED_BY_SLURM
    assert site.submissions() == []
    assert "cannot be read" in answer_of(folder / "failed/job.sh")["error"]


def test_two_at_one_folder_are_one_too_many(site: FolderGateway, folder: Path) -> None:
    places = Places(folder)
    places.prepare()
    with places.alone(), pytest.raises(Trouble, match="Another run-folder works in") as raised:
        work(site.url, folder)
    assert raised.value.code is Exit.LOCAL_FILE
    assert work(site.url, folder) == 0


@pytest.mark.parametrize(
    "first",
    [
        [None],
        [None, None, None],
        [Told(502, b"<html>Bad gateway</html>", "text/html")] * 2,
        [problem("outcome-unknown", 409, headers={"Retry-After": "7"})],
        [problem("idempotency-in-progress", 409, headers={"Retry-After": "1"})] * 3,
        [problem("rate-exceeded", 503), problem("upstream-timeout", 504, outcome="unknown")],
        [Told(200, b"<html>Log in</html>", "text/html")],
    ],
    ids=["lost", "lost thrice", "HTML", "unknown", "in progress", "busy", "log in"],
)
def test_what_nobody_answered_is_asked_again_with_the_same_key(
    site: FolderGateway, folder: Path, first: list[Told | None]
) -> None:
    drop(folder, "job.sh")
    site.first = list(first)
    told: list[str] = []
    assert work(site.url, folder, lambda _, what: told.append(what)) == 0
    sent = [one for one in site.heard if f"{one.method} {one.target}" == SUBMIT]
    assert len(sent) == len(first) + 1
    assert len({one.headers["idempotency-key"] for one in sent}) == 1
    assert len({one.body for one in sent}) == 1
    assert site.submissions() == ["jobs-job.sh"]
    assert sum(what.startswith("waits") for what in told) >= 1


def test_what_nobody_will_ever_know_is_said_and_not_sent_again(
    site: FolderGateway, folder: Path
) -> None:
    drop(folder, "job.sh")
    site.first = [problem("outcome-unknown", 409)]
    assert work(site.url, folder) == Exit.REFUSED_BY_SLURM
    answer = answer_of(folder / "failed/job.sh")
    assert (answer["code"], answer["exit_code"]) == ("outcome-unknown", Exit.UNDECIDED)
    assert "history" in answer["remedy"]
    assert site.targets().count(SUBMIT) == 1


def test_a_key_that_is_too_old_to_be_known_is_not_sent_again(
    site: FolderGateway, folder: Path
) -> None:
    places = Places(folder)
    places.prepare()
    drop(folder / "running", "job.sh")
    sent = time.time() - 24 * 3600
    journal = Journal(places.journal)
    journal.note("k1", name="job.sh", running="job.sh", sent_at=sent, whose="alice of a test")
    assert work(site.url, folder) == Exit.REFUSED_BY_SLURM
    assert SUBMIT not in site.targets()
    assert answer_of(folder / "failed/job.sh")["code"] == "outcome-unknown"


def test_what_somebody_else_sent_is_not_sent_by_us(site: FolderGateway, folder: Path) -> None:
    """Their key would be a new one to the gateway, and the job a second one."""
    drop(folder, "job.sh")
    site.first = [problem("token-invalid", 401)]
    with pytest.raises(Trouble):
        work(site.url, folder, whose="bob of a test")
    with pytest.raises(Trouble, match="another sign-in") as raised:
        work(site.url, folder)
    assert raised.value.code is Exit.WRONG_CALL
    assert work(site.url, folder, whose="bob of a test") == 0
    assert site.submissions() == ["jobs-job.sh"]


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [("token-invalid", 401, Exit.NOT_PERMITTED), ("operation-unlisted", 403, Exit.NOT_PERMITTED)],
)
def test_a_refusal_that_is_the_same_for_all_stops_and_loses_nothing(
    site: FolderGateway, folder: Path, code: str, status: int, exit_code: Exit
) -> None:
    drop(folder, "a.sh", "b.sh")
    site.first = [problem(code, status)] * 2
    with pytest.raises(Trouble) as raised:
        work(site.url, folder)
    assert raised.value.code is exit_code
    assert names(folder / "failed") == []
    site.first = []
    assert work(site.url, folder) == 0
    assert sorted(site.submissions()) == ["jobs-a.sh", "jobs-b.sh"]


def test_a_refusal_of_the_one_job_is_its_answer(site: FolderGateway, folder: Path) -> None:
    drop(folder, "a.sh")
    site.first = [problem("field-forbidden", 403, detail="user_id may not be set")]
    assert work(site.url, folder) == Exit.REFUSED_BY_SLURM
    answer = answer_of(folder / "failed/a.sh")
    assert (answer["code"], answer["job_id"]) == ("field-forbidden", None)


@pytest.mark.parametrize(
    ("accounting", "place", "state"),
    [
        ({"jobs": [{"job_id": 1, "state": {"current": "COMPLETED"}}]}, "done", "COMPLETED"),
        ({"jobs": [{"job_id": 1, "state": {"current": "FAILED"}}]}, "failed", "FAILED"),
        ({"jobs": []}, "failed", "UNKNOWN"),
        ({"jobs": [{"job_id": 1, "state": {"current": "RUNNING"}}]}, "failed", "UNKNOWN"),
    ],
    ids=["completed", "failed", "not kept", "no end"],
)
def test_what_slurmctld_forgot_is_looked_up_in_the_accounting(
    site: FolderGateway, folder: Path, accounting: Any, place: str, state: str
) -> None:
    drop(folder, "job.sh")
    site.tell(JOB, Told(404, {"errors": [{"error": "Invalid job id", "error_number": 2017}]}))
    site.tell("GET /slurmdb/v0.0.42/job/1", Told(200, accounting))
    work(site.url, folder)
    assert answer_of(folder / place / "job.sh")["state"] == state


@pytest.mark.parametrize(
    ("accounting", "place", "code"),
    [
        ([("COMPLETED", 0), ("FAILED", 4), ("COMPLETED", 0)], "failed", 4),
        ([("COMPLETED", 0), ("COMPLETED", 0), ("RUNNING", 0)], "done", 0),
        (None, "done", 0),
    ],
    ids=["a task failed", "it comes later", "no accounting"],
)
def test_a_task_that_slurmctld_forgot_counts_too(
    site: FolderGateway,
    folder: Path,
    accounting: list[tuple[str, int]] | None,
    place: str,
    code: int,
) -> None:
    drop(folder, "array.sh")
    task = {"job_id": 3, "array_job_id": 1, "array_task_id": 2, "job_state": "COMPLETED"}
    site.tell(JOB, Told(200, {"jobs": [task]}))
    if accounting is not None:
        records = [
            {
                "job_id": 1,
                "array": {"job_id": 1, "task_id": task_id},
                "state": {"current": state},
                "exit_code": {"return_code": number},
            }
            for task_id, (state, number) in enumerate(accounting)
        ]
        site.tell("GET /slurmdb/v0.0.42/job/1", Told(200, {"jobs": records}))
    work(site.url, folder)
    assert answer_of(folder / place / "array.sh")["exit_code"] == code


def test_what_a_kill_left_of_the_last_line_is_no_line(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    Journal(file).note("k1", name="a", job_id=7)
    with file.open("ab") as last:
        last.write(b'{"key": "k1", "filed": tr')
    (item,) = Journal(file).open_items()
    assert (item.name, item.job_id, item.filed) == ("a", 7, False)
    Journal(file).note("k1", filed=True)
    assert Journal(file).open_items() == []


def test_a_journal_stays_as_long_as_what_is_open(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    journal = Journal(file, most_lines=10)
    journal.note("open", name="open.sh", job_id=7)
    for number in range(200):
        journal.note(f"k{number}", name="job.sh")
        journal.note(f"k{number}", filed=True)
        assert file.read_bytes().count(b"\n") <= 12
    (item,) = Journal(file).open_items()
    assert (item.key, item.name, item.job_id) == ("open", "open.sh", 7)


def test_a_key_that_was_filed_and_forgotten_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    journal = Journal(file, most_lines=3)
    journal.note("k", name="job.sh")
    journal.note("k", job_id=1)
    journal.note("k", filed=True)
    assert file.read_bytes() == b""
    assert Journal(file).open_items() == []


def test_of_many_files_no_more_are_looked_into_than_there_is_room_for(folder: Path) -> None:
    for number in range(50):
        (folder / f"{number:02}.sh").write_text("#!/bin/sh\n")
    incoming = Incoming(folder, 0.0)
    seen = incoming.look(3)
    assert (len(seen.whole), seen.waiting) == (3, 47)
    assert incoming.look(0).whole == incoming.look(-1).whole == []


@pytest.mark.parametrize("line", [b"\x00\n", b"[]\n", b"{}\n", b'{"key": 7}\n', b"\xff\n"])
def test_a_journal_that_is_damaged_is_not_guessed_at(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "journal"
    file.write_bytes(line)
    with pytest.raises(Trouble, match="line 1 is damaged") as raised:
        Journal(file).open_items()
    assert raised.value.code is Exit.LOCAL_FILE
    assert file.read_bytes() == line


def test_the_folder_has_to_be_ones_own_folder(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be read") as raised:
        Places(tmp_path / "absent").prepare()
    assert raised.value.code is Exit.NO_INPUT
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="is no folder"):
        Places(tmp_path / "file").prepare()
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    with pytest.raises(Trouble, match="Everybody may write"):
        Places(everybodys).prepare()
    open_inside = tmp_path / "open-inside"
    (open_inside / "running").mkdir(parents=True)
    (open_inside / "running").chmod(0o777)
    with pytest.raises(Trouble, match="Everybody may write"):
        Places(open_inside).prepare()
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "done").symlink_to(everybodys)
    with pytest.raises(Trouble, match="is a symbolic link"):
        Places(linked).prepare()


def test_it_is_typed_as_its_help_says(site: FolderGateway, folder: Path, tmp_path: Path) -> None:
    drop(folder, "a.sh", "bad.sh")
    site.ends["jobs-bad.sh"] = ("TIMEOUT", 0)
    environ = {
        "SLURM_GATEWAY_HOME": str(tmp_path / "home"),
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_TOKEN": "token-of-a-test",
        "SLURM_GATEWAY_API_VERSION": "v0.0.42",
    }
    typed = ["run-folder", "--once", "--settle", "0", "-n", "2", "--json", str(folder)]
    done = CliRunner().invoke(main, typed, env=environ)
    assert done.exit_code == 1, done.output
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["file"] for one in told} == {"a.sh", "bad.sh"}
    assert names(folder / "done") == ["a.sh", "a.sh.answer.json"]
    assert names(folder / "failed") == ["bad.sh", "bad.sh.answer.json"]
