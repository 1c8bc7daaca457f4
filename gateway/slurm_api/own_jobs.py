"""An operation -> how a caller who may reach their own jobs only is held to them."""

from collections.abc import Mapping
from enum import Enum


class Hold(Enum):
    """Where the jobs are named, and so where their owner is compared."""

    ANSWER = "jobs of others are left out of the answer"
    ONE = "the one job of the answer is compared"
    PATH = "the owner of the job in the path is asked for first"
    QUERY = "the owners of the jobs in the query are asked for first"
    BODY = "the owners of the jobs in the body are asked for first"
    FILTER = "the body's own filter is set to the caller"
    NEVER = "the owner cannot be known, so that it is refused"


HOLDS: Mapping[str, Hold] = {
    "GET /slurm/*/jobs": Hold.ANSWER,
    "GET /slurmdb/*/jobs": Hold.ANSWER,
    "GET /slurm/*/job/{job_id}": Hold.ONE,
    "GET /slurmdb/*/job/{job_id}": Hold.ONE,
    "POST /slurm/*/job/{job_id}": Hold.PATH,
    "DELETE /slurm/*/job/{job_id}": Hold.PATH,
    "GET /slurm/*/job/{job_id}/requeue": Hold.PATH,
    "GET /slurm/*/resources/{job_id}": Hold.PATH,
    "GET /slurm/*/jobs/state": Hold.QUERY,
    "POST /slurm/*/jobs/requeue": Hold.BODY,
    "DELETE /slurm/*/jobs": Hold.FILTER,
    "POST /slurmdb/*/job/{job_id}": Hold.NEVER,
    "POST /slurmdb/*/jobs": Hold.NEVER,
}
"""By Operation.name: everything that reaches a job which exists already."""
