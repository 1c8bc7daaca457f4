"""A body of job/submit -> the job's id, however often the connection breaks: one key, one job."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

from gateway.client.opening import Cluster
from gateway.client.trouble import Exit, Trouble
from gateway.client.values import whole

_ASK_AGAIN = frozenset({"idempotency-in-progress", "outcome-unknown"})
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
_MOST_SECONDS = 300.0
_TO_BE_MENDED = frozenset({Exit.NOT_PERMITTED, Exit.LOCAL_FILE, Exit.NO_INPUT})
"""What somebody has to do something about before the same key is of use."""


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
    was wrong otherwise. Then nothing was submitted. Whoever interrupts it is told the key.
    """
    try:
        return _send_until(cluster, body, key, _Waiting(sleep, now, tell, now() + most_seconds))
    except KeyboardInterrupt:
        tell(f"Whether the job was submitted is not known: {_with_the_key(key)}")
        raise


class _Waiting(NamedTuple):
    sleep: Callable[[float], None]
    now: Callable[[], float]
    tell: Callable[[str], None]
    deadline: float


def _send_until(
    cluster: Cluster, body: Mapping[str, Any], key: str, waiting: _Waiting
) -> Submitted:
    earlier_may_have_run = False
    pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
    while True:
        try:
            return _send(cluster, body, key)
        except Trouble as trouble:
            wait = _wait_seconds(trouble, next(pauses))
            if wait is None or waiting.now() + wait > waiting.deadline:
                raise _final(trouble, key, earlier_may_have_run=earlier_may_have_run) from None
            earlier_may_have_run = earlier_may_have_run or not trouble.never_ran
            waiting.tell(f"{trouble.sentence} Asking again in {wait:g} s, with the same key.")
            waiting.sleep(wait)


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
    after = trouble.retry_after_seconds
    if trouble.problem in _ASK_AGAIN:
        return None if after is None else max(after, _PAUSES[0])
    if trouble.code is Exit.UNAVAILABLE:
        return after or pause
    return None


def _final(trouble: Trouble, key: str, *, earlier_may_have_run: bool) -> Trouble:
    """What ends the asking is the answer, unless something runs that it says nothing of.

    Of a first request a refusal says that nothing runs, and so does Slurm's at any time: the key
    lets it be asked only where nothing ran before. A sign-in that ends later says nothing.
    """
    is_open = trouble.code is Exit.UNAVAILABLE or trouble.is_strangers
    may_run = not trouble.never_ran if is_open else trouble.code is Exit.UNDECIDED
    was_left = earlier_may_have_run and trouble.code is not Exit.REFUSED_BY_SLURM
    if not (may_run or was_left):
        return trouble
    first = f"{trouble.remedy}; then " if trouble.remedy and trouble.code in _TO_BE_MENDED else ""
    final = Trouble(
        Exit.UNDECIDED,
        f"Whether the job was submitted is not known: {trouble.sentence}",
        first + _with_the_key(key),
        problem=trouble.problem,
        status=trouble.status,
    )
    final.retry_after_seconds = trouble.retry_after_seconds
    return final


def _with_the_key(key: str) -> str:
    return f"ask again with the same key, which submits nothing twice: --idempotency-key {key}"
