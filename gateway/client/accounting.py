"""A job's id -> how it ended as slurmdbd has it, for jobs that slurmctld has forgotten."""

from collections.abc import Iterable

from gateway.client.arrays import whole_id
from gateway.client.opening import Cluster
from gateway.client.record import Record, read_records

_ENDS = frozenset(
    {
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
        "REVOKED",
    }
)
"""Whatever else it says may still change: REQUEUED, which 20.11 calls 1024, is the end of one run."""


def last_runs(cluster: Cluster, job_id: str) -> list[Record]:
    """The job, or all of its tasks or components, or the one that is named, without steps. Raises Trouble.

    A requeued job has a record for each of its runs (measured on all releases), and so has another job of
    the same number after a slurmctld that lost its state: what was submitted last counts, and where that is
    of an array, an older job with the array's number is none of its tasks (measured on 24.11).
    """
    content = cluster.get_accounting(f"/job/{whole_id(job_id)}", {}).content
    records = [read_records(one)[0] for one in content.get("jobs") or []]
    meant = sorted((one for one in records if _is_meant(one, job_id)), key=_submitted)
    found = {one.shown_id: one for one in meant if _kind(one) == _kind(meant[-1])}
    return list(found.values())


def _submitted(record: Record) -> float:
    return record.submitted


def _kind(record: Record) -> str:
    """A task, a component, or a job by itself."""
    return next((mark for mark in "_+" if mark in record.shown_id), "")


def _is_meant(record: Record, job_id: str) -> bool:
    """A number means all tasks and components too; 8_3 and 5+1 mean one record.

    20.11 answers with requeued runs of other jobs as well (measured).
    """
    return job_id in (record.shown_id, record.job_id, whole_id(record.shown_id))


def has_ended(record: Record) -> bool:
    """Whether this record says how the job ended."""
    return record.state in _ENDS


def code_of(record: Record) -> int:
    """As `watch` has it: the script's own, and 1 where a signal or Slurm ended it, or nobody kept it."""
    code, _, signal = record.exit_code.partition(":")
    number = int(code) if code.isdigit() else 0
    return number or int(record.state != "COMPLETED" or signal not in ("", "0"))


def worst_of(records: Iterable[Record]) -> Record | None:
    """The one whose code is that of all."""
    return max(records, key=code_of, default=None)
