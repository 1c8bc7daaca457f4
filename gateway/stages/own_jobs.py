"""(Admission, Body, UpstreamCredential) -> the Body to be forwarded, or Denied: no job of somebody else's.

What is named by its id is looked up first; bulk signals get the caller as their filter; lists are
left to whoever reads the answer. Where an owner cannot be known, the answer is no, and it is the
same for a job that does not exist.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from gateway.denial import Denied, Reason
from gateway.model import Admission, Body, ClusterUser, UpstreamCredential
from gateway.request.body_json import BodyRefused, read_body
from gateway.request.media_type import JSON
from gateway.slurm_api.job_owner import Owner
from gateway.slurm_api.kinds import KINDS
from gateway.slurm_api.own_jobs import HOLDS, Hold

RULE = "authorize.roles.own_jobs_only"
_MOST_IDS = 64
_MOST_BODY_BYTES = 1_048_576
_JOB_ID = KINDS["job-id"]
_FILTER_NAMES = frozenset({"user_id", "user_name"})


class JobOwners(Protocol):
    """Whose a job is, as slurmctld says."""

    async def __call__(
        self, admission: Admission, job_id: str, credential: UpstreamCredential
    ) -> Owner:
        """NOBODY where there is no such job, or none that the caller may see. Raises Denied."""
        ...


class OwnJobs:
    """Holds a call to the caller's own jobs. `make_body` makes a Body of new bytes."""

    def __init__(self, owners: JobOwners, make_body: Callable[[bytes], Body]) -> None:
        self._owners = owners
        self._make_body = make_body

    async def __call__(
        self, admission: Admission, body: Body | None, credential: UpstreamCredential
    ) -> Body | None:
        """The same body, or one with a filter. Raises Denied with JOB_NOT_OWN, or as a body is unreadable."""
        match HOLDS[admission.call.operation.name]:
            case Hold.ANSWER | Hold.ONE:
                if admission.request.accept != JSON:
                    raise Denied(
                        Reason.NOT_ACCEPTABLE, detail="Filtered answers are JSON.", rule=RULE
                    )
            case Hold.PATH:
                await self._compare(admission, admission.call.job_ids, credential)
            case Hold.QUERY:
                await self._compare(admission, _queried(admission), credential)
            case Hold.BODY:
                await self._compare(admission, _listed(_read(admission, body)), credential)
            case Hold.FILTER:
                return self._make_body(_filtered(_read(admission, body), admission.user))
            case Hold.NEVER:
                raise _not_own("the owner of an accounting record cannot be known")
        return body

    async def _compare(
        self, admission: Admission, ids: Iterable[str], credential: UpstreamCredential
    ) -> None:
        """Tasks of an array and components of a het job belong to the user of the job they are part of."""
        user = admission.user
        jobs = list(dict.fromkeys(job_id.partition("_")[0] for job_id in ids))
        if not jobs:
            raise _not_own("no job is named", detail="Name the jobs: you may reach your own only.")
        if len(jobs) > _MOST_IDS:
            raise _not_own(
                "too many jobs", detail=f"At most {_MOST_IDS} jobs can be compared at once."
            )
        for job_id in jobs:
            owner = await self._owners(admission, job_id, credential)
            if not owner.is_user(user.name, user.uid):
                raise _not_own(f"job {job_id}")


def _not_own(note: str, *, detail: str = "") -> Denied:
    return Denied(Reason.JOB_NOT_OWN, note, detail=detail, rule=RULE)


def _queried(admission: Admission) -> list[str]:
    given = dict(admission.request.target.query).get("job_id", "")
    return [job_id for job_id in given.split(",") if job_id]


def _read(admission: Admission, body: Body | None) -> dict[str, Any]:
    if body is None:
        raise Denied(Reason.BODY_REQUIRED, rule=RULE)
    if admission.request.media_type != JSON:
        raise Denied(Reason.MEDIA_TYPE_UNSUPPORTED, detail="Rules apply to this body: send JSON.")
    if body.length > _MOST_BODY_BYTES:
        detail = f"Rules apply to this body: it may have at most {_MOST_BODY_BYTES} bytes."
        raise Denied(Reason.BODY_TOO_LARGE, detail=detail)
    try:
        return read_body(body.read(body.length))
    except BodyRefused as refused:
        detail = f"{Reason.BODY_MALFORMED.sentence} ({refused})"
        raise Denied(Reason.BODY_MALFORMED, str(refused), detail=detail) from None
    finally:
        body.rewind()


def _listed(top: dict[str, Any]) -> list[str]:
    """The ids in a list; any other shape might be read in another way than here."""
    found = [value for name, value in top.items() if name.casefold() == "jobs"]
    ids = found[0] if found else []
    if not isinstance(ids, list) or not all(
        isinstance(job_id, str) and _JOB_ID.accepts(job_id) for job_id in ids
    ):
        raise _not_own("ids in another shape", detail="jobs must be a list of job ids as texts.")
    return ids


def _filtered(top: dict[str, Any], user: ClusterUser) -> bytes:
    """slurmctld compares each job with the filter, those that are named by their ids too (24.11, 26.05)."""
    kept = {name: value for name, value in top.items() if name.casefold() not in _FILTER_NAMES}
    kept["user_name"] = user.name
    if user.uid is not None:
        kept["user_id"] = str(user.uid)
    return json.dumps(kept, separators=(",", ":")).encode("ascii")
