"""A problem document of the gateway, or errors of Slurm -> one sentence, what to do, and an exit code."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.client.trouble import Exit, Trouble, printable

_UNAUTHENTICATED = 401
_LOG_IN = "sign in with: slurm-gateway login"
_BUSY = frozenset({429, 502, 503, 504})
_REMEDIES = {
    "outcome-unknown": "look with `slurm-gateway jobs` and `history` whether the job is there",
    "operation-unlisted": "your role does not have this operation; ask the gateway's administrators",
    "user-unknown": "the cluster has no account for you; ask its administrators",
    "subject-conflict": "ask the gateway's administrators: the name belonged to somebody else",
    "insufficient-user-authentication": "sign in again with a second factor: slurm-gateway login",
    "idempotency-key-reused": "leave --idempotency-key out, or use another key",
}
_UNDECIDED = frozenset({"outcome-unknown", "idempotency-in-progress"})
_NO_ACCOUNTING = 7000
_ON_THE_WAY = frozenset({*range(1000, 2000), *range(5000, 6000), _NO_ACCOUNTING})
"""slurm_errno.h: slurmrestd did not get through to slurmctld or slurmdbd, or not back."""
_SERVER_ERROR = 500
_NEVER_SENT = frozenset({"rate-exceeded", "concurrency-exceeded", "busy", "shutting-down"})
_LAST_PLAIN_ERROR = (0, None)
_GONE = ("(2017)", "knows no job", "_handle_job_get: unknown job")
"""ESLURM_INVALID_JOB_ID, our own sentence for an empty answer, and v0.0.36, which has no numbers."""
_SECONDS = re.compile(r"[0-9]{1,9}")


def retry_after_in(headers: Mapping[str, str]) -> int | None:
    """The seconds of Retry-After (RFC 9110, 10.2.3); None without them, and for a date."""
    after = headers.get("retry-after", "")
    return int(after) if _SECONDS.fullmatch(after) else None


def explain_refusal(status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> Trouble:
    """What a problem document (RFC 9457) says, with its code and the request's id for the administrators."""
    code = printable(problem.get("code", ""), 64)
    title = printable(problem.get("title", f"The gateway answered {status}"))
    detail = printable(problem.get("detail") or "")
    sentence = detail if detail.startswith(title) else f"{title}: {detail}" if detail else title
    known = f" [{code}, request {printable(problem.get('request_id', '?'), 64)}]"
    trouble = Trouble(
        _exit_of(status, code),
        f"{sentence.rstrip('.')}.{known}",
        _remedy(status, code, headers),
        problem=code,
        status=status,
    )
    trouble.retry_after_seconds = retry_after_in(headers)
    trouble.never_ran = problem.get("outcome") == "not-run" or code in _NEVER_SENT
    return trouble


def _exit_of(status: int, code: str) -> Exit:
    if code in _UNDECIDED:
        return Exit.UNDECIDED
    if status in _BUSY:
        return Exit.UNAVAILABLE
    if status in (_UNAUTHENTICATED, 403):
        return Exit.NOT_PERMITTED
    return Exit.REFUSED_BY_SLURM


def _remedy(status: int, code: str, headers: Mapping[str, str]) -> str:
    if code in _REMEDIES:
        return _REMEDIES[code]
    if status == _UNAUTHENTICATED:
        return _LOG_IN
    after = retry_after_in(headers)
    if after is not None:
        return f"try again in {after} s"
    return "try again in a moment" if status in _BUSY else ""


def explain_slurm(status: int, content: Mapping[str, Any]) -> Trouble:
    """What Slurm's own answer says is wrong."""
    said = "; ".join(slurm_errors(content)) or f"an error without a word (HTTP {status})"
    if status >= _SERVER_ERROR and not _ON_THE_WAY.isdisjoint(_numbers(content)):
        remedy = "try again in a moment; slurmctld or slurmdbd may be restarting"
        return Trouble(Exit.UNAVAILABLE, f"Slurm says: {said}.", remedy, status=status)
    return Trouble(Exit.REFUSED_BY_SLURM, f"Slurm says: {said}.", status=status)


def has_no_accounting(content: Mapping[str, Any]) -> bool:
    """Whether slurmrestd did not get through to slurmdbd, whatever the status: 22.05 says so with 200 (measured)."""
    return _NO_ACCOUNTING in _numbers(content)


def is_gone(trouble: Trouble) -> bool:
    """Whether slurmctld said that it does not know the job, or nothing of it."""
    return any(word in trouble.sentence for word in _GONE)


def _numbers(content: Mapping[str, Any]) -> Iterator[int]:
    errors = content.get("errors")
    for one in errors if isinstance(errors, list) else ():
        number = one.get("error_number") if isinstance(one, Mapping) else None
        if isinstance(number, int):
            yield number


def slurm_errors(content: Mapping[str, Any]) -> Iterator[str]:
    """Each error once. Every version spells them its own way."""
    seen: set[str] = set()
    errors = content.get("errors")
    for one in errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ():
        text = _error_text(one)
        if text not in seen:
            seen.add(text)
            yield text


def _error_text(error: object) -> str:
    if not isinstance(error, Mapping):
        return printable(error)
    words = [error.get("error") or "", error.get("description") or ""]
    told = ": ".join(dict.fromkeys(printable(word).rstrip(".") for word in words if word))
    number = error.get("error_number", error.get("error_code", error.get("errno")))
    return (told or "an unknown error") + ("" if number in _LAST_PLAIN_ERROR else f" ({number})")
