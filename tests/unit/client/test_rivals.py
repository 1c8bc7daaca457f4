"""Options that rule each other out: what sbatch takes of them, and nothing is dropped that sbatch does not drop."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.client.submit.assembling import Submission, assemble
from gateway.client.submit.script import read_script
from gateway.client.submit.table import read_options
from gateway.client.submit.words import COMMAND_LINE, read_words
from gateway.client.trouble import Exit, Trouble
from tests.client_world import Told, scripted_gateway
from tests.unit.client.test_bad_input import environment

OPTIONS = read_options()
MEMORY = ("memory_per_node", "memory_per_cpu", "memory_per_tres")
SETTINGS = ("requeue", "no_requeue", "shared", "exclusive", "oversubscribe")


def jobs(lines: str, typed: str, environ: Mapping[str, str], version: int) -> list[dict[str, Any]]:
    script = "".join(f"#SBATCH {line}\n" for line in lines.split("\n"))
    parsed = read_script(f"#!/bin/sh\n{script}".encode(), "job.sh", OPTIONS)
    words, _ = read_words(shlex.split(f"-D /tmp {typed}"), OPTIONS, COMMAND_LINE)
    made = assemble(Submission(parsed, "job.sh", (), tuple(words), environ, OPTIONS), version, 0)
    found: list[dict[str, Any]] = made["jobs"] if "jobs" in made else [made["job"]]
    return found


def of(names: tuple[str, ...], job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in names if name in job}


@pytest.mark.parametrize(
    ("environ", "lines", "typed", "sent"),
    [
        ({"SBATCH_MEM_PER_NODE": "3G"}, "-n 1", "--mem-per-cpu=1G", {"memory_per_cpu": 1024}),
        ({"SBATCH_MEM_PER_CPU": "3G"}, "-n 1", "--mem=1G", {"memory_per_node": 1024}),
        ({"SBATCH_MEM_PER_CPU": "3G"}, "--mem=1G", "", {"memory_per_node": 1024}),
        ({"SBATCH_MEM_PER_NODE": "3G"}, "--mem=1G", "", {"memory_per_node": 3072}),
        ({"SBATCH_MEM_PER_NODE": "3G"}, "--mem=1G", "--mem=2G", {"memory_per_node": 2048}),
        ({"SBATCH_MEM_PER_NODE": "3G"}, "-n 1", "", {"memory_per_node": 3072}),
    ],
)
def test_a_variable_gives_way_to_what_is_written_of_another_kind(
    environ: dict[str, str], lines: str, typed: str, sent: dict[str, int]
) -> None:
    (job,) = jobs(lines, typed, environ, 38)
    assert of(MEMORY, job) == sent


@pytest.mark.parametrize(
    ("environ", "lines", "typed", "place", "code"),
    [
        ({}, "--mem=3G", "--mem-per-cpu=1G", COMMAND_LINE, Exit.WRONG_CALL),
        ({}, "--mem=3G\n--mem-per-cpu=1G", "", "job.sh, line 3", Exit.UNFIT_DATA),
        ({}, "-n 1", "--mem=3G --mem-per-gpu=1G", COMMAND_LINE, Exit.WRONG_CALL),
        ({}, "--mem=300\nhetjob\n--mem-per-cpu=1", "", "job.sh, line 4", Exit.UNFIT_DATA),
        (
            {"SBATCH_MEM_PER_NODE": "3G", "SBATCH_MEM_PER_CPU": "1G"},
            "-n 1",
            "",
            "SBATCH_MEM_PER_CPU",
            Exit.UNFIT_DATA,
        ),
    ],
)
def test_two_kinds_of_memory_are_refused(
    environ: dict[str, str], lines: str, typed: str, place: str, code: Exit
) -> None:
    with pytest.raises(Trouble, match="rule each other out") as raised:
        jobs(lines, typed, environ, 42)
    assert raised.value.code is code
    assert raised.value.sentence.startswith(place)


def test_a_component_has_the_memory_that_sbatch_gives_it() -> None:
    environ = {"SBATCH_MEM_PER_NODE": "300"}
    made = jobs("-n 1\nhetjob\n--mem-per-cpu=100", "", environ, 38)
    assert [of(MEMORY, job) for job in made] == [{"memory_per_node": 300}, {"memory_per_cpu": 100}]
    made = jobs("--mem-per-cpu=100\nhetjob\n-n 1", "", environ, 38)
    assert [of(MEMORY, job) for job in made] == [{"memory_per_cpu": 100}, {"memory_per_node": 300}]


@pytest.mark.parametrize(
    ("environ", "lines", "typed", "version", "sent"),
    [
        ({"SBATCH_NO_REQUEUE": "1"}, "--requeue", "--requeue", 42, {"requeue": True}),
        ({"SBATCH_NO_REQUEUE": "1"}, "--requeue", "--requeue", 38, {"requeue": True}),
        ({"SBATCH_NO_REQUEUE": "1"}, "--requeue", "", 42, {"requeue": False}),
        ({}, "--no-requeue", "--requeue", 38, {"requeue": True}),
        ({}, "--requeue", "--no-requeue", 38, {"no_requeue": True}),
        ({}, "--exclusive", "-s", 42, {"shared": ["oversubscribe"]}),
        ({}, "-s\n--exclusive", "-s", 38, {"oversubscribe": True}),
        ({}, "--exclusive\n-s", "--exclusive", 42, {"shared": ["none"]}),
        ({}, "--exclusive\n-s", "--exclusive", 38, {"exclusive": "exclusive"}),
    ],
)
def test_the_later_word_for_one_setting_counts(
    environ: dict[str, str], lines: str, typed: str, version: int, sent: dict[str, Any]
) -> None:
    (job,) = jobs(lines, typed, environ, version)
    assert of(SETTINGS, job) == sent


@pytest.mark.parametrize(
    ("signal", "flags"),
    [
        ("R:USR1@120", ["RESERVATION_JOB"]),
        ("B:USR1", ["BATCH_JOB"]),
        ("RB:USR1", ["BATCH_JOB", "RESERVATION_JOB"]),
        ("USR1", None),
    ],
)
def test_a_signals_letters_are_flags(signal: str, flags: list[str] | None) -> None:
    (job,) = jobs(f"--signal={signal}", "", {}, 42)
    assert job.get("kill_warning_flags") == flags


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "Submitted batch job 7\n"),
        (["--quiet"], ""),
        (["-Q", "--parsable"], "7\n"),
        (["-Q", "--json"], '{"job_id": 7, "replayed": false}\n'),
    ],
)
def test_quiet_leaves_out_what_no_program_reads(
    tmp_path: Path, words: list[str], printed: str
) -> None:
    with scripted_gateway() as site:
        site.tell("POST /slurm/v0.0.42/job/submit", Told(200, {"job_id": 7}))
        typed = ["submit", *words, "--wrap", "true"]
        done = CliRunner().invoke(main, typed, env=environment(site.url, tmp_path))
    assert (done.exit_code, done.stdout) == (0, printed)
