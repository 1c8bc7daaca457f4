"""A TOML file of [[deny]] tables, or none -> whether an identity is refused although its token is good.

An entry names a subject of an issuer, a client, or a token:

    [[deny]]
    issuer = "https://idp.example.org"
    subject = "8a1f…"

    [[deny]]
    client_id = "old-portal"        # with or without issuer

    [[deny]]
    jti = "7c9e…"                   # with or without issuer; also Cognito's origin_jti
"""

import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.edges.edited_file import EditedFile
from gateway.model import Clock, Identity

_MAXIMUM_BYTES = 4_194_304
_NAMES = ("subject", "client_id", "jti")
_ANY_ISSUER = ""

_Names = Mapping[str, frozenset[str]]
"""Name -> issuers that it is denied for; empty for all of them. Asked with every request."""


class DenyListInvalid(ValueError):
    """The file is not a deny list; the message lists every mistake with its place."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries by what they name."""

    subject: _Names
    client_id: _Names
    jti: _Names

    def __len__(self) -> int:
        named = (self.subject, self.client_id, self.jti)
        return sum(len(issuers) for names in named for issuers in names.values())

    def find(self, identity: Identity) -> str | None:
        """The kind of the first entry that names the identity, its client or its token."""
        issuer, claims = identity.issuer, identity.claims
        if self.subject and _is_named(self.subject, issuer, identity.subject):
            return "subject"
        if self.client_id and (
            _is_named(self.client_id, issuer, identity.client_id)
            or _is_named(self.client_id, issuer, claims.get("azp"))
        ):
            return "client_id"
        if self.jti and (
            _is_named(self.jti, issuer, identity.token_id)
            or _is_named(self.jti, issuer, claims.get("origin_jti"))
        ):
            return "jti"
        return None


class NoDenyList:
    """For a gateway without one."""

    def find(self, identity: Identity) -> str | None:  # noqa: ARG002 (the Protocol's signature)
        """Nobody is denied."""
        return None


class FileDenyList:
    """A deny list in a file that is re-read within 5 seconds of a change.

    A broken new version leaves the last good list in use and says so in `error`. Raises FileUnusable
    where the file is missing or broken at the start.
    """

    def __init__(self, path: Path, issuers: Collection[str], now: Clock = time.time) -> None:
        self._file = EditedFile(
            path, partial(read_entries, issuers=frozenset(issuers)), _MAXIMUM_BYTES, now
        )

    def find(self, identity: Identity) -> str | None:
        """The kind of the entry that names this identity."""
        return self._file.content.find(identity)

    @property
    def error(self) -> str:
        """Why the newest version of the file is not in use; empty where it is."""
        return self._file.error

    def __len__(self) -> int:
        return len(self._file.content)

    async def keep_fresh(self) -> None:
        """Look for changes for ever; run it as a task."""
        await self._file.keep_fresh()


def read_entries(raw: bytes, issuers: frozenset[str]) -> Entries:
    """Parse the file. Raises DenyListInvalid with all mistakes at once.

    An issuer that the gateway does not trust is a mistake: the entry would never deny anybody.
    """
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DenyListInvalid(f"not TOML: {error}") from None
    tables = document.get("deny", [])
    mistakes = [f"unknown key {name!r}" for name in document if name != "deny"]
    if not isinstance(tables, list):
        raise DenyListInvalid("deny must be an array of tables: [[deny]]")
    for number, table in enumerate(tables, 1):
        mistakes += [f"entry {number}: {mistake}" for mistake in _mistakes(table, issuers)]
    if mistakes:
        raise DenyListInvalid("; ".join(mistakes))
    return Entries(**{name: _names(tables, name) for name in _NAMES})


def _mistakes(table: Any, issuers: frozenset[str]) -> list[str]:
    if not isinstance(table, dict):
        return ["not a table"]
    mistakes = [f"unknown key {name!r}" for name in table if name not in (*_NAMES, "issuer")]
    mistakes += [
        f"{name} must be a non-empty string"
        for name in (*_NAMES, "issuer")
        if name in table and not (isinstance(table[name], str) and table[name])
    ]
    if sum(name in table for name in _NAMES) != 1:
        mistakes.append("give exactly one of subject, client_id, jti")
    if "subject" in table and "issuer" not in table:
        mistakes.append("subject needs issuer")
    if isinstance(table.get("issuer"), str) and table["issuer"] not in issuers:
        mistakes.append("issuer is not one of [[authenticate.issuers]]")
    return mistakes


def _names(tables: list[dict[str, str]], name: str) -> _Names:
    names: dict[str, set[str]] = {}
    for table in tables:
        if name in table:
            names.setdefault(table[name], set()).add(table.get("issuer", _ANY_ISSUER))
    return {value: frozenset(issuers) for value, issuers in names.items()}


def _is_named(denied: _Names, issuer: str, name: object) -> bool:
    issuers = denied.get(name) if isinstance(name, str) else None
    return issuers is not None and (issuer in issuers or _ANY_ISSUER in issuers)
