"""The body of slurmrestd's answer -> what Slurm itself said: error codes, job ids, a refused credential."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

PROMPT_SECONDS = 4.0
"""A refused token is answered in some 11 ms. Without a slurmctld, 20.11 and 22.05 give the very same
answer after 9 s (measured): only the time tells the two apart."""
_REFUSED_STATUSES = frozenset({401, 511})
_AMBIGUOUS_STATUS = 500
_UNSPECIFIED_ERROR = -1
_MOST_VALUES = 256
"""As many codes or ids of a bulk operation as one audit record takes."""

_CODE_NAMES = ("error_number", "error_code", "errno")
# a YAML answer is searched as text, for the record alone: nothing is decided by what is found so
_YAML_CODE = re.compile(rb"\b(?:error_number|error_code|errno|(?<!_)code)\"?: *(-?[0-9]{1,9})\b")
_YAML_JOB = re.compile(rb"\bjob_id\"?: *\"?([0-9]{1,10})\b")


def is_refusal(status: int) -> bool:
    """401 and 511 mean that Slurm did not take the credential (22.05, 24.11, 26.05)."""
    return status in _REFUSED_STATUSES


def may_be_refusal(status: int, body: bytes) -> bool:
    """20.11 and 22.05 say 500 to a bad token, without errors or with error_number -1 only."""
    if status != _AMBIGUOUS_STATUS:
        return False
    answer = _parsed(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("errors"), list):
        return False
    return all(_code(error) == _UNSPECIFIED_ERROR for error in answer["errors"])


def is_unspecified_error(status: int, body: bytes) -> bool:
    """The 500 with error_number -1 that 22.05 gives to a token it has looked at and refused."""
    return may_be_refusal(status, body) and any(_codes(_parsed(body)))


def slurm_errors(body: bytes) -> tuple[str, ...]:
    """Codes from errors[], results[] and status[].error; 24.11 and 26.05 put them into a 200."""
    answer = _parsed(body)
    if isinstance(answer, dict):
        return _bounded(str(code) for code in _codes(answer) if code != 0)
    return _bounded(code.decode() for code in _YAML_CODE.findall(body) if code != b"0")


def stated_codes(body: bytes) -> tuple[int, ...] | None:
    """The same codes of a JSON object, for whatever is decided by them. None for any other body."""
    answer = _parsed(body)
    return tuple(_codes(answer)) if isinstance(answer, dict) else None


def has_pinged(body: bytes) -> bool:
    """Whether a daemon has answered a ping: `ping` (v0.0.36, v0.0.38), `pinged` (v0.0.40) or `responding` (v0.0.45).

    With slurmctld down 24.11 and 26.05 answer 200 at once, older releases 500 after 9 s (measured).
    """
    answer = _parsed(body)
    pings = _objects(answer.get("pings")) if isinstance(answer, dict) else ()
    return any(
        "UP" in (one.get("ping"), one.get("pinged")) or one.get("responding") is True
        for one in pings
    )


def job_ids(body: bytes) -> tuple[str, ...]:
    """Ids of jobs that were made or touched, from the top, result, results[] and status[]."""
    answer = _parsed(body)
    if isinstance(answer, dict):
        return _bounded(str(number) for number in _numbers(answer))
    return _bounded(number.decode() for number in _YAML_JOB.findall(body) if number != b"0")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _bounded(values: Iterator[str]) -> tuple[str, ...]:
    """Without repetition, in order, no more than a record takes."""
    return tuple(dict.fromkeys(values))[:_MOST_VALUES]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """A dictionary, or those in a list."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item


def _integer(value: Any) -> int | None:
    """A number as slurmrestd writes it: plain, or {set, infinite, number} since v0.0.40."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _code(error: Any) -> int | None:
    """The code of one entry of errors[]; three names by release."""
    if not isinstance(error, dict):
        return None
    found = (_integer(error.get(name)) for name in _CODE_NAMES)
    return next((code for code in found if code is not None), None)


def _codes(answer: Any) -> Iterator[int]:
    entries = [*_objects(answer.get("errors")), *_objects(answer.get("results"))]
    codes = [_code(entry) for entry in entries]
    for status in _objects(answer.get("status")):
        error = status.get("error")
        if isinstance(error, dict):
            codes.append(_integer(error.get("code")) or _code(error))
    return (code for code in codes if code is not None)


def _numbers(answer: dict[str, Any]) -> Iterator[int]:
    places = [answer, *_objects(answer.get("result"))]
    places += [*_objects(answer.get("results")), *_objects(answer.get("status"))]
    numbers = (_integer(place.get("job_id")) for place in places)
    return (number for number in numbers if number)
