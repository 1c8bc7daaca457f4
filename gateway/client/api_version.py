"""A gateway -> the newest API version that it, its cluster and this client share."""

import re

from gateway.client.asking import Gateway
from gateway.client.trouble import Exit, Trouble, printable

NEWEST, OLDEST = 45, 36
"""What this client has been tried with."""
_FORM = re.compile(r"v0\.0\.([0-9]{2})")
_NOT_FOUND = 404
_HIDDEN = frozenset({"operation-unlisted"})


def number_of(version: str) -> int:
    """42 of v0.0.42. Raises Trouble."""
    found = _FORM.fullmatch(version)
    if not found:
        raise Trouble(
            Exit.WRONG_CALL, f"{printable(version)!r} is no API version.", "write it as v0.0.42"
        )
    return int(found[1])


def find_version(gateway: Gateway) -> str:
    """Ask for a ping in each version, the newest first. Raises Trouble where none is answered.

    A version that slurmrestd does not serve is 404, whatever Slurm thinks of the question.
    """
    refusals: list[Trouble] = []
    for number in range(NEWEST, OLDEST - 1, -1):
        version = f"v0.0.{number}"
        refusal = _refusal(gateway, version)
        if refusal is None:
            return version
        refusals.append(refusal)
    if any(refusal.problem for refusal in refusals):
        raise Trouble(
            Exit.NOT_PERMITTED,
            "The gateway lets you ping the cluster in no API version.",
            "if you may do other things there, name a version with --api-version",
        )
    raise Trouble(
        Exit.UNREADABLE_ANSWER,
        f"The cluster serves no API version from v0.0.{OLDEST} to v0.0.{NEWEST}.",
        "a newer slurm-gateway may know its version; or name one with --api-version",
    )


def _refusal(gateway: Gateway, version: str) -> Trouble | None:
    """Why this version is not to be had; None where it is, even if slurmctld does not answer.

    Raises Trouble where neither the gateway nor Slurm has said a word: nothing is known then.
    """
    try:
        gateway.ask("GET", f"/slurm/{version}/ping")
    except Trouble as trouble:
        if trouble.is_strangers:
            raise
        if trouble.problem in _HIDDEN or (not trouble.problem and trouble.status == _NOT_FOUND):
            return trouble
        if trouble.problem or not trouble.status:
            raise
    return None
