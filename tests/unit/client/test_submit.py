"""A batch script -> a job description, or one sentence with the line; and nothing is ever submitted twice."""

import json
import math
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.commands_submit import split
from gateway.client.opening import Cluster
from gateway.client.submit.assembling import Submission, assemble, exported
from gateway.client.submit.job_file import is_json, read_job_file
from gateway.client.submit.parsing import PARSERS, Unreadable
from gateway.client.submit.script import MAXIMUM_BYTES, read_script
from gateway.client.submit.table import read_options
from gateway.client.submit.words import Given, read_words
from gateway.client.submitting import submit
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, asked, problem, scripted_gateway

OPTIONS = read_options()
REFUSED = tomllib.loads((Path(__file__).with_name("scripts.toml")).read_text())["refused"]
VERSIONS = (36, 38, 40, 42, 45)
NOW = 1_800_000_000.0
SUBMIT = "POST /slurm/v0.0.42/job/submit"


def body_of(
    script: str, typed: str = "-D /tmp", version: int = 42, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    words, rest = read_words(shlex.split(typed), OPTIONS, "the command line")
    parsed = read_script(script.encode(), "job.sh", OPTIONS)
    made = Submission(parsed, "job.sh", tuple(rest), tuple(words), environ or {}, OPTIONS)
    return assemble(made, version, NOW)


def job_of(options: str, version: int = 42) -> dict[str, Any]:
    job: dict[str, Any] = body_of(f"#!/bin/sh\n#SBATCH {options}\n", version=version)["job"]
    return job


@pytest.mark.parametrize("case", REFUSED, ids=[case["name"] for case in REFUSED])
def test_a_script_that_cannot_be_sent_is_one_sentence(case: dict[str, Any]) -> None:
    typed = "" if case["name"] == "no folder" else "-D /tmp"
    with pytest.raises(Trouble) as raised:
        body_of(case["script"], typed, case.get("version", 42))
    assert case["says"] in raised.value.sentence
    assert case.get("remedy", "") in raised.value.remedy
    assert raised.value.code is Exit.UNFIT_DATA
    assert raised.value.sentence.isprintable()


def test_a_script_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(Trouble, match="bytes; Slurm takes"):
        read_script(b"#!/bin/sh\n" + b"#" * MAXIMUM_BYTES, "job.sh", OPTIONS)


def test_a_script_that_is_no_text_is_said_with_its_line() -> None:
    with pytest.raises(Trouble, match="line 3: it is not UTF-8"):
        read_script(b"#!/bin/sh\n\n\xff\n", "job.sh", OPTIONS)


@pytest.mark.parametrize(
    ("options", "version", "expected"),
    [
        ("-t 2-12", 42, {"time_limit": {"set": True, "infinite": False, "number": 3600}}),
        ("-t 2-12", 38, {"time_limit": 3600}),
        ("-t UNLIMITED", 42, {"time_limit": {"set": False, "infinite": True, "number": 0}}),
        ("-t UNLIMITED", 36, {"time_limit": -1}),
        ("--mem 4G", 40, {"memory_per_node": {"set": True, "infinite": False, "number": 4096}}),
        ("--mem=4g", 36, {"memory_per_node": 4096}),
        ("-N 2-4", 42, {"minimum_nodes": 2, "maximum_nodes": 4}),
        ("-N 2-4", 38, {"nodes": "2-4"}),
        ("-o out -i in", 36, {"standard_out": "out", "standard_in": "in"}),
        ("-o out -i in", 38, {"standard_output": "out", "standard_input": "in"}),
        ("--gres=gpu:2", 38, {"gres": "gpu:2"}),
        ("--gres=gpu:2,shard:1", 42, {"tres_per_node": "gres/gpu:2,gres/shard:1"}),
        (
            "--gres=shard:1 --gpus-per-node=a100:2",
            42,
            {"tres_per_node": "gres/shard:1,gres/gpu:a100:2"},
        ),
        ("-G 4", 45, {"tres_per_job": "gres/gpu:4"}),
        ("-c 2 --gpus-per-task=1", 42, {"cpus_per_task": 2, "tres_per_task": "cpu=2,gres/gpu:1"}),
        ("-c 2", 40, {"cpus_per_task": 2}),
        ("-w n1,n[3-5],x", 42, {"required_nodes": ["n1", "n[3-5]", "x"]}),
        ("-w n1,n[3,5]", 36, {"nodelist": "n1,n[3,5]"}),
        ("--mail-type=END,TIME_LIMIT_80", 42, {"mail_type": ["END", "TIME=80%"]}),
        ("--mail-type=end", 38, {"mail_type": "END"}),
        ("--exclusive", 42, {"shared": ["none"]}),
        ("--exclusive=user", 38, {"exclusive": "user"}),
        (
            "--spread-job --kill-on-invalid-dep=no",
            42,
            {"flags": ["SPREAD_JOB", "NO_KILL_INVALID_DEPENDENCY"]},
        ),
        ("-H --no-requeue", 42, {"hold": True, "requeue": False}),
        ("-H --no-requeue", 36, {"hold": True, "no_requeue": True}),
        ("-Hn4", 42, {"hold": True, "tasks": 4}),
        ("--part=gpu", 42, {"partition": "gpu"}),
        ("-J 'two words' # a comment", 42, {"name": "two words"}),
        ("--container=/b", 38, {"container": "/b"}),
    ],
)
def test_each_option_has_its_field_in_each_version(
    options: str, version: int, expected: dict[str, Any]
) -> None:
    job = job_of(options, version)
    assert {name: job.get(name) for name in expected} == expected


def test_what_comes_later_counts_and_the_command_line_goes_over_all() -> None:
    script = "#!/bin/sh\n#SBATCH -n 1 -p script\n#SBATCH -n 2 -q script\n#SBATCH -A script\n"
    environ = {"SBATCH_PARTITION": "variable", "SBATCH_QOS": "variable"}
    job = body_of(script, "-D /tmp -q typed", environ=environ)["job"]
    assert (job["tasks"], job["partition"], job["qos"], job["account"]) == (
        2,
        "variable",
        "typed",
        "script",
    )


def test_directives_end_with_the_first_command_and_later_ones_are_mentioned() -> None:
    text = "#!/bin/sh\n# words\n\n#SBATCH -n 2\necho\n#SBATCH -n 3\n"
    script = read_script(text.encode(), "job.sh", OPTIONS)
    assert [one.text for one in script.components[0]] == ["2"]
    assert script.notes == ("line 6 stands behind the first command, where sbatch ignores it too",)


def test_a_heterogeneous_job_has_a_description_for_each_component() -> None:
    text = "#!/bin/sh\n#SBATCH -n 1\n#SBATCH hetjob\n#SBATCH -n 2 -p gpu\n"
    body = body_of(text)
    assert [job["tasks"] for job in body["jobs"]] == [1, 2]
    assert {job["current_working_directory"] for job in body["jobs"]} == {"/tmp"}  # noqa: S108
    assert "job" not in body


def test_a_later_component_takes_over_what_sbatch_carries_on_and_nothing_else() -> None:
    lines = ("-t 5 -A research -n 4 -p gpu", "hetjob", "-t 7 -c 2", "hetjob", "-n 1")
    text = "#!/bin/sh\n" + "".join(f"#SBATCH {line}\n" for line in lines)
    jobs = body_of(text, "-D /tmp --qos high", 38, {"SBATCH_COMMENT": "x"})["jobs"]
    assert [job["time_limit"] for job in jobs] == [5, 7, 7]
    assert [job["account"] for job in jobs] == ["research"] * 3
    assert [job["qos"] for job in jobs] == ["high"] * 3
    assert [job.get("tasks") for job in jobs] == [4, None, 1]
    assert [job.get("partition") for job in jobs] == ["gpu", None, None]
    assert [job.get("cpus_per_task") for job in jobs] == [None, 2, None]


@pytest.mark.parametrize(
    ("wish", "variables"),
    [
        ("", {}),
        ("--export=NONE", {}),
        ("--export=HOME,ABSENT", {"HOME": "/home/alice"}),
        ("--export=A=1,B='x,y'", {"A": "1", "B": "x,y"}),
        ("--export=ALL,A=1", {"HOME": "/home/alice", "SECRET": "s", "A": "1"}),
    ],
)
def test_of_this_machines_variables_those_that_are_named_are_sent(
    wish: str, variables: dict[str, str]
) -> None:
    words = [wish] if wish else []
    given, _ = read_words(words, OPTIONS, "x")
    found = exported(given, {"HOME": "/home/alice", "SECRET": "s"})
    assert found.pop("PATH") == "/usr/local/bin:/usr/bin:/bin"
    assert found == variables


def test_arguments_of_the_script_are_sent_where_a_release_survives_them() -> None:
    script = "#!/bin/sh\n"
    assert body_of(script, "-D /tmp a b")["job"]["argv"] == ["job.sh", "a", "b"]
    assert "argv" not in body_of(script, "-D /tmp", 38)["job"]
    with pytest.raises(Trouble, match="takes no arguments"):
        body_of(script, "-D /tmp a b", 38)


@given(st.sampled_from(sorted(PARSERS)), st.text(max_size=20))
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    with suppress(Unreadable):
        value = PARSERS[name](text, NOW)
        assert value != math.inf or name == "minutes"


@given(
    st.lists(
        st.sampled_from(
            [*(f"--{name}" for name in OPTIONS), "-n", "-p", "hetjob", "=", "4", "#", "'", "x"]
        ),
        max_size=6,
    ),
    st.sampled_from(VERSIONS),
)
def test_any_directive_is_a_job_or_a_sentence(words: list[str], version: int) -> None:
    try:
        body = body_of(f"#!/bin/sh\n#SBATCH {' '.join(words)}\n", version=version)
    except Trouble as trouble:
        assert trouble.code is Exit.UNFIT_DATA  # noqa: PT017 (one of two outcomes)
    else:
        json.dumps(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_script_or_a_sentence(content: bytes) -> None:
    with suppress(Trouble):
        read_script(content, "job.sh", OPTIONS)
    with suppress(Trouble):
        read_job_file(content, "job.json")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"job": {"name": "x"}, "script": "#!/bin/sh"}', ""),
        ('{"jobs": [{"name": "x"}], "script": "#!/bin/sh"}', ""),
        ('{"jobs": {"name": "x"}, "script": "#!/bin/sh"}', "sent as"),
        ('\ufeff{"job": {}}', ""),
    ],
)
def test_json_is_sent_as_it_is_and_the_old_shape_with_a_note(text: str, note: str) -> None:
    body, said = read_job_file(text.encode(), "job.json")
    assert note in said
    assert "job" in body or isinstance(body["jobs"], list)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"job": []}',
        '{"jobs": []}',
        '{"jobs": [1]}',
        '{"jobs": {}, "job": {}}',
    ],
)
def test_json_that_is_no_job_is_a_sentence(text: str) -> None:
    with pytest.raises(Trouble, match=r"job\.json") as raised:
        read_job_file(text.encode(), "job.json")
    assert raised.value.code is Exit.UNFIT_DATA


def test_json_is_told_from_a_script() -> None:
    assert is_json(b"", "job.json")
    assert is_json(b' {"job": 1}', "-")
    assert not is_json(b"#!/bin/sh\n{", "job.sh")


@pytest.mark.parametrize(
    ("words", "own", "rest"),
    [
        ("--json -p debug job.sh", "--json", "-p debug job.sh"),
        ("-p debug --json job.sh --json", "--json", "-p debug job.sh --json"),
        ("--gateway=https://x -n4 job.sh", "--gateway=https://x", "-n4 job.sh"),
        ("--gateway https://x job.sh", "--gateway https://x", "job.sh"),
        ("-J --json job.sh", "", "-J --json job.sh"),
        ("--wrap hostname --dry-run", "--dry-run", "--wrap hostname"),
        ("-whost job.sh", "", "-whost job.sh"),
        ("- --json", "", "- --json"),
    ],
)
def test_the_clients_own_options_are_found_among_sbatchs(words: str, own: str, rest: str) -> None:
    assert split(words.split()) == (own.split(), rest.split())


def test_every_option_has_one_field_a_version_and_a_parser() -> None:
    letters = [one.short for one in OPTIONS.values() if one.short]
    assert len(letters) == len(set(letters))
    for option in OPTIONS.values():
        for version in range(36, 46):
            fitting = [one for one in option.fields if one.first <= version <= one.last]
            assert len(fitting) <= 1, option.name
        assert {one.parse for one in option.fields} <= PARSERS.keys()
        assert option.argument in ("none", "value", "optional")
    assert isinstance(next(iter(OPTIONS.values())).name, str)
    assert Given(OPTIONS["hold"], "", "x").option.short == "H"


@pytest.fixture
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


@pytest.fixture
def cluster(scripted: ScriptedGateway) -> Iterator[Cluster]:
    with asked(scripted) as gateway:
        yield Cluster(gateway, "v0.0.42")


def keys(scripted: ScriptedGateway) -> set[str]:
    return {one.headers["idempotency-key"] for one in scripted.heard}


DONE = Told(200, {"job_id": 7, "errors": []}, headers={"Idempotent-Replayed": "true"})


def test_a_submission_has_a_key(scripted: ScriptedGateway, cluster: Cluster) -> None:
    scripted.tell(SUBMIT, DONE)
    assert submit(cluster, {"job": {}}, "k1", sleep=lambda _: None).job_id == 7
    assert keys(scripted) == {'"k1"'}


@pytest.mark.parametrize(
    "broken",
    [
        problem("upstream-timeout", 504),
        problem("busy", 503, outcome="not-run"),
        Told(500, {"errors": [{"error": "Unable to contact", "error_number": 1800}]}),
        problem("idempotency-in-progress", 409, headers={"Retry-After": "1"}),
        problem("outcome-unknown", 409, headers={"Retry-After": "1"}),
        Told(502, b"<html>Bad gateway</html>", "text/html"),
    ],
    ids=[
        "slurmrestd was slow",
        "no connection",
        "slurmctld is away",
        "the first still runs",
        "nobody knows yet",
        "a proxy says so in HTML",
    ],
)
def test_what_broke_off_is_asked_for_again_with_the_same_key(
    scripted: ScriptedGateway, cluster: Cluster, broken: Told
) -> None:
    scripted.tell(SUBMIT, broken, broken, DONE)
    submitted = submit(cluster, {"job": {}}, "k1", sleep=lambda _: None)
    assert (submitted.job_id, submitted.replayed) == (7, True)
    assert len(scripted.heard) == 3
    assert keys(scripted) == {'"k1"'}
    assert len({one.body for one in scripted.heard}) == 1


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (problem("outcome-unknown", 409), Exit.UNDECIDED),
        (problem("upstream-timeout", 504), Exit.UNDECIDED),
        (problem("busy", 503, outcome="not-run"), Exit.UNAVAILABLE),
        (problem("field-forbidden", 403), Exit.NOT_PERMITTED),
        (
            Told(500, {"errors": [{"error": "Invalid partition", "error_number": 2000}]}),
            Exit.REFUSED_BY_SLURM,
        ),
        (Told(200, {"errors": []}), Exit.UNREADABLE_ANSWER),
        (Told(504, b"<html>", "text/html"), Exit.UNDECIDED),
        (Told(200, b"<html>Log in</html>", "text/html"), Exit.UNDECIDED),
    ],
)
def test_in_the_end_it_says_whether_something_may_run(
    scripted: ScriptedGateway, cluster: Cluster, told: Told, code: Exit
) -> None:
    scripted.tell(SUBMIT, told)
    clock = iter(range(0, 100_000, 60))
    with pytest.raises(Trouble) as raised:
        submit(
            cluster,
            {"job": {}},
            "k1",
            sleep=lambda _: None,
            now=lambda: float(next(clock)),
        )
    assert raised.value.code is code
    assert ("--idempotency-key k1" in raised.value.remedy) is (code is Exit.UNDECIDED)
    assert keys(scripted) == {'"k1"'}
