"""Jobs of many kinds on a release, answers about them through a gateway, and whether a document has them right."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator

from lab.gateway import GatewayProcess
from lab.processes import LabError
from lab.slurm import SlurmRelease
from lab.submission import submission

EVERY_CLASS = [
    *("READ", "READ-HEAVY", "READ-ACCOUNTING", "READ-SENSITIVE", "READ-BULK", "SUBMIT"),
    *("ALLOCATE", "JOB-WRITE", "JOB-WRITE-BULK", "ACCT-JOB-WRITE", "ADMIN", "UTIL"),
]
EVERYTHING = {"authorize": {"roles": {"user": {"allow": EVERY_CLASS}}}}

MOST_JOBS = 100
COMPONENTS = frozenset({"20.11", "22.05"})
"""Whose documents have the numbers of components wrong."""
HELD = ["--hold"]
KINDS = [
    ["--wrap=true"],
    ["--wrap=exit 3", "--comment=fails"],
    ["--wrap=true", "--array=1-3%1"],
    ["--wrap=srun true"],
    ["--wrap=sleep 300", "--mem=10", "--time=00:10:00"],
    [*HELD, "--wrap=true", "--time=10", "--nice=5", "--begin=now+1hour"],
    [*HELD, "--wrap=true", "--array=1-5%2"],
    [*HELD, "--wrap=true", "--cpus-per-task=2"],
    [*HELD, "--wrap=true", "--cores-per-socket=1", "--sockets-per-node=1"],
    [*HELD, "--wrap=true", "--threads-per-core=1"],
    [*HELD, "--wrap=true", "--ntasks-per-core=1"],
    [*HELD, "--wrap=true", "--ntasks-per-socket=1"],
    [*HELD, "--wrap=true", "--mem-per-cpu=10"],
    [*HELD, "--wrap=true", "--cpu-freq=low-high:OnDemand"],
    [*HELD, "--wrap=true", "--deadline=now+2hours", "--time=1"],
]
"""sbatch's options; a release that does not know one makes do without that job."""

READS = [
    *("diag", "ping", "jobs", "jobs/state", "job/{job}", "job/999999", "nodes", "node/{node}"),
    *("node/none", "partitions", "partition/{partition}", "partition/none", "licenses"),
    *("reservations", "shares", "jobs?update_time=4000000000", "conf"),
]
ACCOUNTED = [
    *("diag", "ping", "jobs", "job/{done}", "users", "user/alice", "accounts", "associations"),
    *("association", "clusters", "cluster/lab", "qos", "qos/normal", "tres", "wckeys"),
    *("instances", "conf"),
]


@dataclass(frozen=True)
class Answer:
    """What was said to one request; `sent` is its body, None without one."""

    version: str
    method: str
    path: str
    status: int
    body: Any
    sent: Any = None


@dataclass
class Site:
    """One release behind its gateway, as one user sees it."""

    release: SlurmRelease
    gateway: GatewayProcess
    token: str
    answers: list[Answer] = field(default_factory=list)
    _made: list[str] = field(default_factory=list)

    def fill(self) -> None:
        """Submit a job of each kind, and wait until the short ones have ended."""
        for kind in KINDS:
            self._sbatch(kind)
        self._sbatch(["--wrap=true"], user="carol")  # who has no association
        self._until(lambda: self._squeue("--states=all").count("COMPLETED") > 1)
        self._cancel_a_running_one()
        if self.release.release.slurm in COMPONENTS:
            self._submit_one_of_two_components()

    def _sbatch(self, options: list[str], user: str = "alice") -> str:
        fixed = ["--parsable", "--chdir=/tmp", "--output=/dev/null"]
        try:
            made = self.release.run("sbatch", *fixed, *options, user=user).strip()
        except LabError:
            return ""
        self._made.append(made)
        return made

    def cancel(self) -> None:
        """Its own jobs, because others share the release."""
        with suppress(LabError):  # most have ended
            self.release.run("scancel", *self._made)

    def _cancel_a_running_one(self) -> None:
        """Its step has no exit code in the accounting. One that is cancelled while it starts counts as failed there."""
        for seconds in (1.5, 5, 15, 45):
            job = self._sbatch(["--wrap=sleep 300", "--mem=10"])
            self._until(lambda job=job: f"{job} RUNNING" in self._squeue())  # type: ignore[misc]  # the loop's own
            time.sleep(seconds)
            self.release.run("scancel", job, user="alice")
            steps = ["sacct", "-n", "-P", "-o", "State", "-j", f"{job}.batch"]
            self._until(lambda steps=steps: "ED" in self.release.run(*steps))  # type: ignore[misc]  # the same
            if "CANCELLED" in self.release.run(*steps):
                return
        raise AssertionError("no cancelled job counts as one")

    def _submit_one_of_two_components(self) -> None:
        """Last, because others wait behind it; and not held, because the accounting would not know it then."""
        job = self._sbatch(["--wrap=sleep 2", "--mem=10", ":", "--mem=10"])
        known = ["sacct", "-a", "-n", "-P", "-o", "JobIDRaw", "-s", "PD,R,CD,F,CA"]
        self._until(lambda: str(int(job) + 1) in self.release.run(*known).split())

    def _until(self, is_so: Callable[[], bool], seconds: float = 200.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def _squeue(self, *options: str) -> str:
        return self.release.run("squeue", "-h", "-r", "-o", "%i %T", *options)

    def ask_all(self, documented: set[str]) -> None:
        """Ask for everything that can be read, in each version, and make, change and cancel a job."""
        names = {
            "node": self.release.run("sinfo", "-h", "-N", "-o", "%N").split()[0],
            "partition": self.release.run("sinfo", "-h", "-o", "%R").split()[0],
        }
        held = self._own_first(r"^(\d+) PENDING", self._squeue())
        running = self._own_first(r"^(\d+) RUNNING", self._squeue())
        done = self._own_first(r"^(\d+) (?:COMPLETED|FAILED)", self._squeue("--states=all"))
        for version in sorted(documented):
            for job in [*held[:1], *running[:1], *done[:1]]:
                self.ask(version, "GET", f"/slurm/{version}/job/{job}")
            for read in READS:
                if "{job}" not in read:
                    self.ask(version, "GET", f"/slurm/{version}/{read.format(**names)}")
            for read in ACCOUNTED:
                for job in done[:4] if "{done}" in read else [""]:
                    self.ask(version, "GET", f"/slurmdb/{version}/{read.format(done=job)}")
            self._change(version)

    @property
    def _own(self) -> set[str]:
        """The numbers of the jobs that `fill` made."""
        return {made.split(";")[0] for made in self._made}

    def _own_first(self, pattern: str, listed: str) -> list[str]:
        """The numbers that a pattern finds; whatever others submit, those of `fill` come before theirs."""
        found = re.findall(pattern, listed, re.MULTILINE)
        return sorted(found, key=lambda job: job not in self._own)

    def _own_and_newest(self, jobs: list[Any]) -> list[Any]:
        """Those of `fill`, and of others' only the newest: other tests have left hundreds behind."""
        own = [one for one in jobs[:-MOST_JOBS] if str(one.get("job_id")) in self._own]
        return own + jobs[-MOST_JOBS:]

    def _change(self, version: str) -> None:
        body = submission(version, "#!/bin/sh\nsleep 60\n")
        made = self.ask(version, "POST", f"/slurm/{version}/job/submit", body)
        if made.status == 200:
            job = f"/slurm/{version}/job/{made.body['job_id']}"
            self.ask(version, "DELETE", job)
            self.ask(version, "DELETE", job)

    def ask(self, version: str, method: str, target: str, body: Any = None) -> Answer:
        answer = self.gateway.ask(method, target, self.token, body)
        kind = answer.headers.get("Content-Type", "")
        path = target.partition("?")[0]
        whole = json.loads(answer.body) if "json" in kind and answer.body else None
        if isinstance(whole, dict) and isinstance(whole.get("jobs"), list):
            whole["jobs"] = self._own_and_newest(whole["jobs"])
        kept = Answer(version, method, path, answer.status, whole, body)
        self.answers.append(kept)
        return kept


def versions_of(document: dict[str, Any]) -> set[str]:
    return {found[0] for path in document["paths"] if (found := re.findall(r"v0\.0\.\d+", path))}


def schemas_for(document: dict[str, Any], answer: Answer) -> tuple[Any, Any]:
    """(of what was sent, of what was said); None where the document says nothing of it."""
    operation = _operation(document, answer)
    if operation is None:
        return None, None
    responses = operation["responses"]
    response = responses.get(str(answer.status)) or responses["default"]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    kind = "application/problem+json" if _is_problem(answer) else "application/json"
    said = response.get("content", {}).get(kind, {}).get("schema")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return body.get("schema"), said


def _is_problem(answer: Answer) -> bool:
    return isinstance(answer.body, dict) and "request_id" in answer.body


def _operation(document: dict[str, Any], answer: Answer) -> Any:
    paths = document["paths"]
    exact = [path for path in (answer.path, answer.path + "/") if path in paths]
    open_ones = [path for path in paths if "{" in path and _fits(path, answer.path)]
    for path in [*exact, *open_ones]:
        if answer.method.lower() in paths[path]:
            return paths[path][answer.method.lower()]
    return None


def _fits(template: str, path: str) -> bool:
    pattern = re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template.rstrip("/")))
    return re.fullmatch(pattern, path) is not None


def contradictions(document: dict[str, Any], answer: Answer) -> Iterator[str]:
    """Where an answer, or the request that was served, is not what the document says."""
    sent, said = schemas_for(document, answer)
    where = f"{answer.method} {answer.path} {answer.status}"
    for schema, value, validator in (
        (sent, answer.sent, OAS30WriteValidator),
        (said, answer.body, OAS30ReadValidator),
    ):
        if schema is None or value is None:
            continue
        whole = {**schema, "components": document["components"]}
        for error in validator(whole).iter_errors(value):
            place = "/".join(map(str, error.absolute_path))
            yield f"{where} at {place}: {error.message[-160:]}"
