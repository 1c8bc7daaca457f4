"""Whoever is signed in -> the Slurm user that --me means: as the gateway says, or as the token does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.client.asking import Gateway
from gateway.client.choosing import Choice
from gateway.client.claims import likely_user, unverified_claims
from gateway.client.trouble import Exit, Trouble

USER = "SLURM_GATEWAY_USER"
_PATH = "/gateway/user"
_UNTOLD = frozenset({"page-unknown", "operation-unlisted"})
"""What a gateway of before says, and one whose roles may not read."""


@dataclass(frozen=True, slots=True)
class Own:
    """A Slurm user. `uid` is empty where nobody said it; Slurm 20.11 gives numbers of users alone."""

    name: str
    uid: str = ""


def who_i_am(gateway: Gateway) -> Mapping[str, Any] | None:
    """What the gateway says of the caller; None where it tells nobody. Raises Trouble."""
    try:
        return gateway.ask("GET", _PATH).content
    except Trouble as trouble:
        if trouble.problem in _UNTOLD:
            return None
        raise


def own_user(gateway: Gateway, environ: Mapping[str, str] = os.environ) -> Own:
    """The variable's user, the gateway's, or the name in the token. Raises Trouble where there is none."""
    if named := environ.get(USER, ""):
        return Own(named)
    told = who_i_am(gateway) or {}
    if isinstance(name := told.get("user"), str) and name:
        uid = told.get("uid")
        return Own(name, str(uid) if isinstance(uid, int) else "")
    name = likely_user(unverified_claims(gateway.token()))
    if not name:
        raise Trouble(
            Exit.WRONG_CALL,
            "Neither the gateway nor your token says which Slurm user you are.",
            f"name yourself with --user, or set {USER}",
        )
    return Own(name)


def with_own_name(gateway: Gateway, choice: Choice) -> Choice:
    """The same choice of one's own jobs."""
    own = own_user(gateway)
    if own.uid:
        return replace(choice, own=frozenset({own.name, own.uid}))
    return replace(choice, users=choice.users | {own.name})
