"""A job -> JSON for programs, which is the same whatever API version the cluster speaks."""

import math
from typing import Any

from gateway.client.job import Job


def job_facts(job: Job) -> dict[str, Any]:
    """Times in seconds since 1970, null where there is none; a limit in minutes, null for no limit."""
    limited = job.limit_minutes is not None and not math.isinf(job.limit_minutes)
    return {
        "job_id": job.job_id,
        "shown_id": job.shown_id,
        "name": job.name,
        "user": job.user,
        "user_id": job.user_id,
        "account": job.account,
        "partition": job.partition,
        "state": job.state,
        "flags": list(job.flags),
        "reason": job.reason,
        "nodes": job.nodes,
        "node_count": job.node_count,
        "cpus": job.cpus,
        "priority": job.priority,
        "qos": job.qos,
        "submitted": job.submitted or None,
        "eligible": job.eligible or None,
        "started": job.started or None,
        "ended": job.ended or None,
        "limit_minutes": int(job.limit_minutes or 0) if limited else None,
        "exit_code": job.exit_code,
        "exit_signal": job.exit_signal,
        **job.more,
    }
