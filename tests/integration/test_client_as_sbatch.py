"""What the client makes of sbatch's options is what sbatch makes of them: the same job on every release."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.client.asking import Gateway, open_http
from gateway.client.opening import Cluster
from gateway.client.place import Place
from gateway.client.submit.assembling import Submission, assemble
from gateway.client.submit.script import read_script
from gateway.client.submit.table import read_options
from gateway.client.submit.words import read_words
from gateway.client.submitting import new_key, submit
from gateway.client.trouble import Exit, Trouble
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.conftest import StartGateway

SETS = Path(__file__).with_name("option_sets.txt")
NAME = "as-sbatch.sh"
FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
FEWEST_EQUAL = 60
OWN = frozenset(
    {
        "JobId",
        "ArrayJobId",
        "SubmitTime",
        "EligibleTime",
        "AccrueTime",
        "LastSchedEval",
        "StartTime",  # times of the submission, seconds apart
        "EndTime",
        "AllocNode:Sid",  # where it was submitted
        "Command",  # the script's path on the machine where it was submitted
        "SubmitLine",
        "SLUID",
        "StepId",
    }
)
"""What two submissions of one job never share."""
NAMED_BY_ID = frozenset({"StdErr", "StdIn", "StdOut"})
"""Paths with the job's id in them. Elsewhere its digits are somebody's number: job 500 asked for 500M."""
_PAIR = re.compile(r"(\S+?)=(.*?)(?= [A-Za-z:/]+=|$)")
_MARKER = re.compile(r" ?idempotency:[A-Za-z0-9_-]+")


@dataclass
class Compared:
    """What became of all option sets."""

    equal: list[str] = field(default_factory=list)
    different: dict[str, object] = field(default_factory=dict)
    without_field: list[str] = field(default_factory=list)
    unknown_to_sbatch: list[str] = field(default_factory=list)


def option_sets(node: str) -> list[str]:
    lines = SETS.read_text().splitlines()
    return [line.replace("{node}", node) for line in lines if line and not line.startswith("#")]


def run_sbatch(
    release: SlurmRelease, options: str, content: str, exported: str = ""
) -> subprocess.CompletedProcess[str]:
    """A script in a folder of its own, because other tests submit one of this name meanwhile."""
    command = (
        f"cd {FOLDER} && own=$(mktemp -d -p /var/tmp) && cat > $own/{NAME} && "
        f"{{ {exported} sbatch {options} $own/{NAME}; code=$?; rm -r $own; exit $code; }}"
    )
    return subprocess.run(
        release.layout.command(("sh", "-c", command), "alice"),
        input=content,
        capture_output=True,
        text=True,
        check=False,
    )


def by_sbatch(release: SlurmRelease, options: str) -> str | None:
    """The id; None where this sbatch has no such option."""
    folder = "" if options.startswith("-D") else f"-D {FOLDER} "
    done = run_sbatch(release, f"-H --parsable {folder}", script(options).decode())
    assert done.returncode == 0 or "option" in done.stderr or "-B" in done.stderr, done.stderr
    return done.stdout.strip() if done.returncode == 0 else None


def script(options: str) -> bytes:
    return f"#!/bin/sh\n#SBATCH {options}\nsleep 1\n".encode()


def by_client(cluster: Cluster, options: str) -> str | None:
    """The id; None where this API version has no such field."""
    known = read_options()
    folder = () if options.startswith("-D") else ("-D", FOLDER)
    typed, _ = read_words(("-H", *folder), known, "the command line")
    made = Submission(read_script(script(options), NAME, known), NAME, (), tuple(typed), {}, known)
    try:
        body = assemble(made, cluster.number, time.time())
    except Trouble as trouble:
        if trouble.code is Exit.UNFIT_DATA and f"{NAME}, line 2: " in trouble.sentence:
            return None
        raise
    return str(submit(cluster, body, new_key()).job_id)


def described(release: SlurmRelease) -> dict[str, dict[str, str]]:
    """All jobs by id, in a form in which equal jobs are equal."""
    jobs = {}
    for line in release.run("scontrol", "-o", "show", "job").splitlines():
        pairs = dict(_PAIR.findall(line.strip()))
        job_id = pairs["JobId"]
        own = re.compile(rf"(?<!\d){job_id}(?!\d)")
        kept = {
            name: own.sub("ID", value) if name in NAMED_BY_ID else value
            for name, value in pairs.items()
            if name not in OWN
        }
        kept["Comment"] = _MARKER.sub("", kept.get("Comment", "")).strip()
        jobs[job_id] = {name: value for name, value in kept.items() if value}
    return jobs


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, object]:
    names = sorted(ours.keys() | theirs.keys())
    found = {name: (theirs.get(name), ours.get(name)) for name in names}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


@pytest.fixture
def cluster(
    slurm_release: SlurmRelease, shared_gateway: StartGateway, identity_provider: IdentityProvider
) -> Iterator[Cluster]:
    site = shared_gateway(slurm_release)
    token = identity_provider.token_for("alice")
    place = Place(site.url, site.ca_file)

    def given(*, refused: str = "") -> str:
        assert not refused
        return token

    with open_http(site.ca_file, 60) as http:
        yield Cluster(Gateway(place, http, given), slurm_release.api_versions[0])


def test_the_same_job_as_sbatch(slurm_release: SlurmRelease, cluster: Cluster) -> None:
    node = slurm_release.run("sinfo", "-h", "-N", "-o", "%N").split()[0]
    made = {
        one: (by_sbatch(slurm_release, one), by_client(cluster, one)) for one in option_sets(node)
    }
    jobs = described(slurm_release)
    slurm_release.run("scancel", *(job for pair in made.values() for job in pair if job))
    found = Compared()
    for options, (theirs, ours) in made.items():
        if theirs is None:
            found.unknown_to_sbatch.append(options)
        elif ours is None:
            found.without_field.append(options)
        elif different := differences(jobs[ours], jobs[theirs]):
            found.different[options] = different
        else:
            found.equal.append(options)
    assert found.different == {}
    assert len(found.equal) >= FEWEST_EQUAL, found


def test_a_day_without_a_year_is_sbatchs(slurm_release: SlurmRelease, cluster: Cluster) -> None:
    today = time.strftime("%m%d")
    made = []
    for begin in ("1231", "1/31", "11/15", today, "013135"):
        options = ("-b", begin, "-D", FOLDER)
        wrap = ("--wrap", "sleep 1")
        theirs = slurm_release.run("sbatch", "--parsable", *options, *wrap, user="alice").strip()
        typed, _ = read_words(options, read_options(), "the command line")
        parsed = read_script(script("-J begins"), NAME, read_options())
        submission = Submission(parsed, NAME, (), tuple(typed), {}, read_options())
        body = assemble(submission, cluster.number, time.time())
        made.append((begin, theirs, str(submit(cluster, body, new_key()).job_id)))
    lines = slurm_release.run("scontrol", "-o", "show", "job").splitlines()
    begins = {
        pairs["JobId"]: pairs["EligibleTime"] for pairs in map(dict, map(_PAIR.findall, lines))
    }
    slurm_release.run("scancel", *(job for _, *jobs in made for job in jobs))
    ours = {begin: begins[job] for begin, _, job in made}
    assert ours == {begin: begins[job] for begin, job, _ in made}
    assert min(ours.values()) > time.strftime("%Y-%m-%dT%H:%M:%S")


HET_SCRIPT = """#!/bin/sh
#SBATCH -H -J first -n 4 -t 5 --mem 100M --comment one -A research -q normal --nice=7
#SBATCH -o out-%j --no-requeue -b 2035-01-31T12:30 --tmp=5 --exclusive
#SBATCH hetjob
#SBATCH -J second -c 2 -t 7 --mem=50M -o second-%j --threads-per-core=1
#SBATCH hetjob
#SBATCH -N 1 -e err-%j
sleep 1
"""
HET_IDS = frozenset({"HetJobId", "HetJobIdSet"})


def het_by_sbatch(release: SlurmRelease) -> str:
    done = run_sbatch(release, f"--parsable -D {FOLDER}", HET_SCRIPT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def components(release: SlurmRelease, leader: str) -> list[dict[str, str]]:
    """Of one heterogeneous job, by offset, without the numbers that no two share."""
    found = [one for one in described(release).values() if one.get("HetJobId") == leader]
    found.sort(key=lambda one: int(one["HetJobOffset"]))
    return [
        {key: one[key] for key in one if key not in HET_IDS and not waits(one, key)}
        for one in found
    ]


def waits(job: Mapping[str, str], key: str) -> bool:
    """Whether it says why a job has not begun yet, which the scheduler looks at when it gets to it."""
    return key == "Reason" and job[key] in {"None", "Priority", "Resources"}


def test_a_heterogeneous_job_is_sbatchs_component_by_component(
    slurm_release: SlurmRelease, cluster: Cluster
) -> None:
    theirs = het_by_sbatch(slurm_release)
    known = read_options()
    typed, _ = read_words(("-D", FOLDER), known, "the command line")
    parsed = read_script(HET_SCRIPT.encode(), NAME, known)
    body = assemble(
        Submission(parsed, NAME, (), tuple(typed), {}, known), cluster.number, time.time()
    )
    ours = str(submit(cluster, body, new_key()).job_id)
    try:
        expected, made = components(slurm_release, theirs), components(slurm_release, ours)
    finally:
        slurm_release.run("scancel", theirs, ours)
    assert len(expected) == 3
    assert [differences(*pair) for pair in zip(made, expected, strict=True)] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("variable", "lines", "typed", "limit"),
    [
        ("7", "-t 5", "", "00:07:00"),
        ("7", "-t 5", "-t 9", "00:09:00"),
        ("", "-t 5", "", "00:05:00"),
    ],
    ids=["the environment over the script", "the command line over both", "the script alone"],
)
def test_precedence_is_sbatchs(
    one_slurm_release: SlurmRelease, variable: str, lines: str, typed: str, limit: str
) -> None:
    environment = {"SBATCH_TIMELIMIT": variable} if variable else {}
    exported = "".join(f"{name}={value} " for name, value in environment.items())
    options = f"-H --parsable {typed}"
    done = run_sbatch(one_slurm_release, options, script(lines).decode(), exported)
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.strip()
    shown = one_slurm_release.run("scontrol", "-o", "show", "job", job_id)
    one_slurm_release.run("scancel", job_id)
    known = read_options()
    words, _ = read_words(["-D", FOLDER, *shlex.split(typed)], known, "the command line")
    parsed = read_script(script(lines), NAME, known)
    body = assemble(Submission(parsed, NAME, (), tuple(words), environment, known), 38, time.time())
    assert f"TimeLimit={limit}" in shown
    assert f"00:{body['job']['time_limit']:02}:00" == limit
