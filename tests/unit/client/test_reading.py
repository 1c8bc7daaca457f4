"""Recorded answers of nine API versions, of four releases, are read as the same things."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.choosing import Choice, chosen, make_choice
from gateway.client.facts import job_facts
from gateway.client.following import exit_code
from gateway.client.job import Job, read_exit, read_job
from gateway.client.node import read_node, read_partition
from gateway.client.record import read_records
from gateway.client.runs.history import _fits as history_fits
from gateway.client.trouble import Exit, Trouble
from gateway.client.values import duration, hostlist, limit, number, whole
from gateway.client.when import since, until

ANSWERS = sorted((Path(__file__).parent / "answers").glob("*.json"))
NOW = 1_800_000_000.0


@pytest.fixture(params=ANSWERS, ids=lambda path: str(path.stem))
def answers(request: pytest.FixtureRequest) -> Any:
    return json.loads(request.param.read_text())


def read_jobs(answers: Any) -> dict[str, Job]:
    jobs = [read_job(one) for one in answers["jobs"]]
    return {job.name: job for job in jobs}


def test_jobs_are_the_same_in_every_version(answers: Any) -> None:
    jobs = read_jobs(answers)
    assert {name: job.state for name, job in jobs.items()} == {
        "held": "PENDING",
        "running": "RUNNING",
        "failed": "FAILED",
    }
    held, running, failed = jobs["held"], jobs["running"], jobs["failed"]
    assert {job.user or "alice" for job in jobs.values()} == {"alice"}
    assert {job.limit_minutes for job in jobs.values()} == {60}
    assert (held.reason, held.started, held.elapsed_seconds(NOW)) == ("JobHeldUser", 0, 0)
    assert running.nodes == "vm"
    assert running.elapsed_seconds(running.started + 70) == 70
    assert (failed.exit_code, failed.exit_signal, failed.is_over) == (3, 0, True)
    assert failed.more["StdOut"] == "/dev/null"
    assert job_facts(held)["started"] is None
    json.dumps(job_facts(running))


def test_nodes_and_partitions_are_the_same_in_every_version(answers: Any) -> None:
    (node,) = map(read_node, answers["nodes"])
    assert (node.name, node.cpus, node.memory, node.sockets) == ("vm", 16, 4000, 16)
    assert node.state in ("mix", "alloc")
    (partition,) = map(read_partition, answers["partitions"])
    assert (partition.name, partition.node_count) == ("debug", 1)
    assert partition.is_default is not False
    assert (partition.limit_minutes, partition.nodes) == (60, "vm")
    assert partition.state in ("up", "")


def test_the_accounting_is_the_same_in_every_version(answers: Any) -> None:
    records = [record for one in answers["history"] for record in read_records(one)]
    by_name = {record.name: record for record in records if not record.is_step}
    failed = by_name["failed"]
    assert (failed.state, failed.user, failed.account, failed.cpus) == (
        "FAILED",
        "alice",
        "research",
        1,
    )
    assert failed.exit_code in ("3:0", "")
    steps = [record for record in records if record.is_step]
    assert {step.name for step in steps} == {"batch"}
    assert all(step.shown_id.endswith(".batch") for step in steps)
    assert all(step.shown_id.count(".") == 1 for step in steps)


def test_a_record_of_a_task_is_found_by_all_of_its_ids() -> None:
    content = {"job_id": 4714, "array": {"job_id": 4711, "task_id": {"set": True, "number": 3}}}
    (task,) = read_records(content)
    assert (task.shown_id, task.job_id) == ("4711_3", "4714")
    for typed, fits in (("4711", True), ("4711_3", True), ("4714", True), ("4712", False)):
        choice = make_choice(job_ids=[typed])
        assert history_fits([task], choice, frozenset()) is fits


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"job_id": 9}, "9"),
        ({"job_id": 9, "array_job_id": 0, "array_task_id": None}, "9"),
        ({"job_id": 9, "array_job_id": 8, "array_task_id": 3}, "8_3"),
        ({"job_id": 9, "array_job_id": 8, "array_task_id": 0}, "8_0"),
        ({"job_id": 8, "array_job_id": 8, "array_task_string": "2-10"}, "8_[2-10]"),
        (
            {
                "job_id": 9,
                "array_job_id": {"set": True, "number": 8},
                "array_task_id": {"set": True, "number": 3},
            },
            "8_3",
        ),
        (
            {
                "job_id": 9,
                "array_job_id": {"set": True, "number": 0},
                "array_task_id": {"set": False, "number": 0},
            },
            "9",
        ),
        ({"job_id": 9, "het_job_id": 8, "het_job_offset": 1}, "8+1"),
    ],
)
def test_an_id_is_shown_as_squeue_shows_it(members: dict[str, Any], shown: str) -> None:
    assert read_job(members).shown_id == shown


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (None, None),
        ("x", None),
        (True, None),
        (7, 7),
        (0xFFFFFFFE, None),
        (0xFFFFFFFF, math.inf),
        (-1, math.inf),
        ({"set": True, "infinite": False, "number": 7}, 7),
        ({"set": False, "infinite": False, "number": 0}, None),
        ({"set": False, "infinite": True, "number": 0}, math.inf),
        ({"number": 7}, None),
        ({"set": True, "infinite": False, "number": 0xFFFFFFFE}, 0xFFFFFFFE),
        ({"set": True, "infinite": False, "number": {"set": True, "number": 7}}, None),
        ({}, None),
    ],
)
def test_a_number_has_one_meaning_in_every_version(value: object, meaning: float | None) -> None:
    assert number(value) == meaning


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0, (0, 0)),
        (768, (3, 0)),
        (9, (0, 9)),
        ({"return_code": {"set": True, "number": 3}}, (3, 0)),
    ],
)
def test_an_exit_status_has_one_meaning_in_every_version(status: object, meaning: object) -> None:
    assert read_exit(status) == meaning


@pytest.mark.parametrize("value", [65534, 65535])
def test_what_ends_the_numbers_of_16_bits_is_a_number_like_any_other(value: int) -> None:
    """The 65,535th job runs, nobody has 65534 at many sites, and 64 GB of memory is next to it."""
    told = {"set": True, "infinite": False, "number": value}
    assert number(value) == number(told) == value
    job = read_job({"job_id": value, "user_id": value, "priority": told, "time_limit": told})
    assert (job.job_id, job.shown_id, job.user_id) == (value, str(value), value)
    assert (job.priority, job.limit_minutes) == (value, value)
    assert read_node({"name": "n", "state": ["IDLE"], "real_memory": value}).memory == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = sorted(
    {key for path in ANSWERS for one in json.loads(path.read_text())["jobs"] for key in one}
)


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8))
def test_no_answer_however_odd_ends_the_reading_of_a_job(content: dict[str, Any]) -> None:
    job = read_job(content)
    job.elapsed_seconds(NOW)
    limit(job.limit_minutes)
    job_facts(job)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (59, "0:59"),
        (309, "5:09"),
        (3600, "1:00:00"),
        (176461, "2-01:01:01"),
        (-5, "0:00"),
    ],
)
def test_a_time_is_printed_as_squeue_prints_it(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["vm"], "vm"),
        (["n1"], "n1"),
        (["n1", "n2", "n3", "n7"], "n[1-3,7]"),
        (["n01", "n02", "n10"], "n[01-02],n10"),
        (["n09", "n1"], "n09,n1"),
        (["login", "n1", "n2"], "n[1-2],login"),
        ([], ""),
    ],
)
def test_names_of_nodes_are_put_together(names: list[str], shown: str) -> None:
    assert hostlist(names) == shown


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("idle", "idle"),
        ("mixed", "mix"),
        (["IDLE", "DRAIN"], "drain"),
        (["ALLOCATED", "DRAIN"], "drng"),
        (["DOWN", "NOT_RESPONDING"], "down*"),
        (["IDLE", "MAINTENANCE"], "maint"),
        (["IDLE", "RESERVED"], "resv"),
        ([], "unk"),
    ],
)
def test_a_nodes_state_is_sinfos_word(state: object, shown: str) -> None:
    assert read_node({"name": "n1", "state": state}).state == shown


def job(**members: Any) -> Job:
    return read_job({"job_id": 1, "job_state": "RUNNING", "partition": "debug", **members})


@pytest.mark.parametrize(
    ("choice", "fits"),
    [
        ({}, True),
        ({"users": "alice,bob"}, True),
        ({"users": "1001"}, True),
        ({"users": "bob"}, False),
        ({"states": "r,pd"}, True),
        ({"states": "PENDING"}, False),
        ({"states": "all"}, True),
        ({"partitions": "gpu"}, False),
        ({"accounts": "research"}, True),
        ({"names": "other"}, False),
        ({"users": "alice", "names": "other"}, False),
        ({"job_ids": ["1"]}, True),
        ({"job_ids": ["2,3"]}, False),
    ],
)
def test_all_filters_have_to_fit(choice: dict[str, Any], fits: bool) -> None:
    one = job(user_name="alice", user_id=1001, account="research", name="mine")
    assert make_choice(**choice).fits(one) is fits


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        ("COMPLETING", False),
        ("CONFIGURING", False),
        ("REQUEUE_HOLD", False),
        ("STAGE_OUT", False),
        (["COMPLETED", "COMPLETING"], False),
        (["COMPLETED", "STAGE_OUT"], True),
        ("REVOKED", True),
        ("OUT_OF_MEMORY", True),
    ],
)
def test_one_word_that_hides_the_base_state_is_no_end(
    states: str | list[str], is_over: bool
) -> None:
    assert job(job_state=states).is_over is is_over


def test_the_time_of_a_job_whose_word_is_configuring_runs_on() -> None:
    """Its end is the one that its time limit allows."""
    one = job(job_state="CONFIGURING", start_time=NOW - 10, end_time=NOW + 3600)
    assert one.elapsed_seconds(NOW) == 10


def test_without_a_state_the_living_are_meant_and_those_that_are_named() -> None:
    over = job(job_state="COMPLETED", user_name="alice")
    ending = job(job_state=["COMPLETED", "COMPLETING"], user_name="alice")
    ending_in_one_word = job(job_state="COMPLETING", user_name="alice")
    assert not Choice().fits(over)
    assert Choice().fits(ending)
    assert Choice().fits(ending_in_one_word)
    assert make_choice(job_ids=["1"]).fits(over)


@pytest.mark.parametrize("given_ids", [["x"], ["0"], ["1..2"], ["1;2"], ["-1"], ["1_"], ["1 2"]])
def test_an_id_that_is_none_is_refused_before_anything_is_sent(given_ids: list[str]) -> None:
    with pytest.raises(Trouble, match="no job id") as raised:
        make_choice(job_ids=given_ids)
    assert raised.value.code is Exit.WRONG_CALL


def test_a_state_that_is_none_is_refused() -> None:
    with pytest.raises(Trouble, match="'PENDNG' is no state"):
        make_choice(states="pendng")


def test_where_slurm_gives_no_names_a_name_chooses_nothing_by_accident() -> None:
    nameless = [job(user_name="", user_id=1001)]
    with pytest.raises(Trouble, match="numbers of users") as raised:
        chosen(nameless, make_choice(users="alice"))
    assert "1001" in raised.value.remedy
    assert chosen(nameless, make_choice(users="1001")) == nameless


def test_the_exit_code_is_the_worst_of_all() -> None:
    done = job(job_state="COMPLETED", exit_code=0)
    failed = job(job_state="FAILED", exit_code=768)
    killed = job(job_state="CANCELLED", exit_code=0)
    signalled = job(job_state="FAILED", exit_code=9)
    assert [exit_code(jobs) for jobs in ([done], [done, failed], [killed], [signalled])] == [
        0,
        3,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("typed", "seconds_after_midnight"),
    [
        ("today", 0),
        ("midnight", 0),
        ("noon", 43_200),
        ("14:30", 52_200),
        ("14:30:05", 52_205),
        ("tomorrow", 86_400),
    ],
)
def test_a_time_is_read_as_sacct_reads_it(typed: str, seconds_after_midnight: int) -> None:
    midnight = since("today", NOW)
    assert since(typed, NOW) - midnight == seconds_after_midnight
    assert 0 <= NOW - midnight < 86_400


def test_relative_and_absolute_times() -> None:
    assert since("now-2hours", NOW) == NOW - 7200
    assert until("now+30minutes", NOW) == NOW + 1800
    assert (
        since("2026-01-31", NOW)
        < since("2026-01-31T14:30", NOW)
        < since("2026-01-31T14:30:05", NOW)
    )
    assert until("midnight", NOW) > NOW


@pytest.mark.parametrize(
    "typed", ["", "yesterdaze", "2026-13-01", "25:00", "now-", "now-2x", "\x1b[0m"]
)
def test_what_is_no_time_is_a_sentence(typed: str) -> None:
    with pytest.raises(Trouble, match="is no time") as raised:
        since(typed, NOW)
    assert raised.value.sentence.isprintable()


def test_a_whole_number_is_always_finite() -> None:
    assert whole({"set": False, "infinite": True, "number": 0}, 5) == 5
