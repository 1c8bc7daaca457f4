"""One job of an answer -> whose it is, in every version of slurm and slurmdb."""

from typing import Any, NamedTuple

import orjson

from gateway.slurm_api.lenient_json import loads


class Owner(NamedTuple):
    """A user as a job names it. `name` may be empty (20.11), `uid` None (slurmdb); never both for certain."""

    name: str
    uid: int | None

    def is_user(self, name: str, uid: int | None) -> bool:
        """Whether this is the user for certain. Without a name the number decides."""
        if self.name:
            return self.name == name
        return uid is not None and self.uid == uid


NOBODY = Owner("", None)


def owner_of(raw: bytes) -> Owner:
    """Read one job's JSON. NOBODY where it names no user."""
    try:
        job = loads(raw)
    except orjson.JSONDecodeError:
        return NOBODY
    if not isinstance(job, dict):
        return NOBODY
    association = job.get("association")
    in_association = association.get("user") if isinstance(association, dict) else None
    names = [job.get("user_name"), job.get("user"), in_association]
    said = {name for name in names if isinstance(name, str) and name}
    if len(said) > 1:
        return NOBODY  # a job with two users is nobody's for certain
    return Owner(said.pop() if said else "", _uid(job.get("user_id")))


def _uid(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
