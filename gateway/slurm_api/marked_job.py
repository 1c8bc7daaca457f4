"""(slurmrestd's list of jobs, marker) -> the job that has it; job id -> the answer that its submission had."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.slurm_api.job_list import JobList, ListRefused
from gateway.slurm_api.lenient_json import loads

MARKER_BEGIN: Final = "idempotency:"
"""Every marker begins with it, so that a job of another key can be told from one without a key."""

_FIRST_WITH_WARNINGS: Final = 39
_FIRST_WITH_RESULT: Final = 39
_LAST_WITH_RESULT: Final = 41
_SLICE_BYTES: Final = 1 << 16
_CLOCK_SECONDS: Final = 5
"""By so much slurmctld's clock may differ from the gateway's."""


class ListUnreadable(ValueError):
    """Not a whole list of jobs from a slurmctld that answers."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A job that may have been made. `names` is empty where its name is not known.

    `uid` is None where it is not known; 20.11 gives no user names.
    """

    marker: str
    field: str
    user: str
    uid: int | None
    names: frozenset[str]
    begun: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """`job_id` is the job with the marker, 0 if there is none. `lookalikes` may be it, having lost theirs."""

    job_id: int
    lookalikes: tuple[int, ...] = ()


def find_job(raw: bytes, sought: Sought) -> Sighting:
    """Raises ListUnreadable for anything but an answer without errors that has a list of jobs.

    One job after the other: a list of 12 MB, parsed at once, left up to 40 MB with the process (measured).
    """
    seen = _Seen(sought)
    is_bare = raw[:_SLICE_BYTES].lstrip()[:1] == b"["  # v0.0.35 has the list alone
    before, behind = (b'{"jobs":', b"}") if is_bare else (b"", b"")
    most = len(before) + len(raw) + len(behind)
    jobs = JobList(seen, most_bytes=most, most_job_bytes=most)
    try:
        jobs.feed(before)
        for begin in range(0, len(raw), _SLICE_BYTES):
            jobs.feed(raw[begin : begin + _SLICE_BYTES])
        jobs.feed(behind)
        envelope = orjson.loads(jobs.finish())
    except (ListRefused, orjson.JSONDecodeError) as error:
        raise ListUnreadable("not JSON, or no list of jobs") from error
    if envelope.get("errors"):
        raise ListUnreadable("an error of slurmctld")
    if envelope.get("jobs") != []:
        raise ListUnreadable("no list of jobs")
    return seen.sighting()


class _Seen:
    """Takes a job's JSON and remembers its number alone; says that it need not be kept."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._found: list[int] = []
        self._lookalikes: set[int] = set()

    def __call__(self, raw: bytes) -> bool:
        job, sought = loads(raw), self._sought
        if _is_users(job, sought):
            if _has(job, sought.field, sought.marker):
                self._found.append(_submitted_id(job))
            elif _may_be(job, sought):
                self._lookalikes.add(_submitted_id(job))
        return False

    def sighting(self) -> Sighting:
        """Of what was seen so far."""
        if self._found:
            return Sighting(min(self._found))
        return Sighting(0, tuple(sorted(self._lookalikes)))


def _has(job: dict[str, Any], field: str, marker: str) -> bool:
    written = job.get(field)
    return isinstance(written, str) and marker in written


def _is_users(job: dict[str, Any], sought: Sought) -> bool:
    """Others see the marker and may copy it. 20.11 gives the user's number only."""
    name = job.get("user_name")
    if name:
        return bool(name == sought.user)
    return sought.uid is None or job.get("user_id") == sought.uid


def _may_be(job: dict[str, Any], sought: Sought) -> bool:
    """Submitted since, of the same name where that is known, and of no other key."""
    if sought.names and job.get("name") not in sought.names:
        return False
    if _number(job.get("submit_time")) < sought.begun - _CLOCK_SECONDS:
        return False
    return not _has(job, sought.field, MARKER_BEGIN)


def _submitted_id(job: dict[str, Any]) -> int:
    """The id that the submission was answered: of the array, of the whole heterogeneous job, or its own."""
    numbers = (_number(job.get(name)) for name in ("array_job_id", "het_job_id", "job_id"))
    return next((number for number in numbers if number), 0)


def _number(value: Any) -> int:
    """Plain up to v0.0.39, {set, infinite, number} later. 0 where there is none."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) else 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def submit_answer(version: str, job_id: int) -> bytes:
    """What slurmrestd answers to job/submit in this version, as far as it can be known afterwards."""
    number = int(version.rpartition(".")[2])
    made = {"job_id": job_id, "step_id": "batch" if number >= _FIRST_WITH_RESULT else "BATCH"}
    answer: dict[str, object] = {**made, "job_submit_user_msg": "", "errors": []}
    if number >= _FIRST_WITH_WARNINGS:
        answer["warnings"] = []
    if _FIRST_WITH_RESULT <= number <= _LAST_WITH_RESULT:
        answer["result"] = {**made, "error_code": 0, "error": "No error"}
    return orjson.dumps(answer)
