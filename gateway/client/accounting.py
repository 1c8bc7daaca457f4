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
    the same number after a slurmctld that lost its state: the one that was submitted last counts.
    """
    content = cluster.get_accounting(f"/job/{whole_id(job_id)}", {}).content
    found: dict[str, Record] = {}
    for one in content.get("jobs") or []:
        record = read_records(one)[0]
        known = found.get(record.shown_id)
        if known is None or record.submitted >= known.submitted:
            found[record.shown_id] = record
    return [one for one in found.values() if _is_meant(one, job_id)]


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
