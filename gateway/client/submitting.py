"""A body of job/submit -> the job's id, however often the connection breaks: one key, one job."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.client.opening import Cluster
from gateway.client.trouble import Exit, Trouble
from gateway.client.values import whole

_ASK_AGAIN = frozenset({"idempotency-in-progress", "outcome-unknown"})
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """What Slurm made of it."""

    job_id: int
    message: str
    replayed: bool


def new_key() -> str:
    """A key for one job that is meant."""
    return str(uuid.uuid4())


def submit(
    cluster: Cluster,
    body: Mapping[str, Any],
    key: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
    tell: Callable[[str], None] = lambda _: None,
    most_seconds: float = _MOST_SECONDS,
) -> Submitted:
    """Send it, and where no answer comes send it again with the same key: the gateway runs it once.

    With 0 `most_seconds` it is sent once, and whoever calls asks again.

    Raises Trouble: with Exit.UNDECIDED and the key where in the end nobody knows, and with what
    was wrong otherwise. Then nothing was submitted.
    """
    may_have_run = False
    deadline = now() + most_seconds
    for pause in (*_PAUSES, *[_PAUSES[-1]] * 100):
        try:
            return _send(cluster, body, key)
        except Trouble as trouble:
            may_have_run = may_have_run or not trouble.never_ran
            wait = _wait_seconds(trouble, pause)
            if wait is None or now() + wait > deadline:
                raise _final(trouble, key, may_have_run=may_have_run) from None
            tell(f"{trouble.sentence} Asking again in {wait:g} s, with the same key.")
            sleep(wait)
    raise AssertionError("the deadline is over before the pauses are")


def _send(cluster: Cluster, body: Mapping[str, Any], key: str) -> Submitted:
    answer = cluster.gateway.ask(
        "POST",
        f"/slurm/{cluster.version}/job/submit",
        body=body,
        headers={"Idempotency-Key": f'"{key}"'},
    )
    job_id = whole(answer.content.get("job_id"))
    if not job_id:
        raise Trouble(Exit.UNREADABLE_ANSWER, "Slurm answered without the id of a job.")
    message = answer.content.get("job_submit_user_msg") or ""
    return Submitted(job_id, str(message), "idempotent-replayed" in answer.headers)


def _wait_seconds(trouble: Trouble, pause: float) -> float | None:
    """How long until the same question makes sense; None where it never does."""
    if trouble.problem in _ASK_AGAIN:
        return trouble.retry_after_seconds
    if trouble.code is Exit.UNAVAILABLE:
        return trouble.retry_after_seconds or pause
    return None


def _final(trouble: Trouble, key: str, *, may_have_run: bool) -> Trouble:
    """A refusal of Slurm's or of the gateway's own is an answer: nothing runs."""
    is_open = trouble.code is Exit.UNAVAILABLE or trouble.is_strangers
    if trouble.code is not Exit.UNDECIDED and not (is_open and may_have_run):
        return trouble
    final = Trouble(
        Exit.UNDECIDED,
        f"Whether the job was submitted is not known: {trouble.sentence}",
        f"ask again with the same key, which submits nothing twice: --idempotency-key {key}",
        problem=trouble.problem,
        status=trouble.status,
    )
    final.retry_after_seconds = trouble.retry_after_seconds
    return final
