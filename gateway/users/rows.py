"""The text of a user table -> rows that say which identity is which user."""

import tomllib
from collections.abc import Mapping
from typing import Any

from gateway.model import Identity
from gateway.token.conditions import claim_of
from gateway.users.accounts import is_user_name

_KEYS = frozenset({"issuer", "subject", "claim", "value", "user"})
_Key = tuple[str, str, type, str | bool | int]
"""Issuer, claim (empty for the subject), type of the value, value: 1 and true differ in JSON."""


class UserRows:
    """A whole table, indexed."""

    def __init__(self, users: Mapping[_Key, str]) -> None:
        self._users = users
        self._claims = {(issuer, claim) for issuer, claim, _, _ in users if claim}

    def __len__(self) -> int:
        return len(self._users)

    def users_of(self, identity: Identity) -> frozenset[str]:
        """Every user that a row gives this identity: none, one, or several that disagree."""
        keys: list[_Key] = [(identity.issuer, "", str, identity.subject)]
        for issuer, claim in self._claims:
            value = claim_of(identity, claim) if issuer == identity.issuer else None
            if isinstance(value, str | bool | int):
                keys.append((issuer, claim, type(value), value))
        return frozenset(self._users[key] for key in keys if key in self._users)


def read_user_rows(text: str) -> UserRows:
    """Parse TOML with [[user]] tables: issuer, subject (or claim and value), user.

    Raises ValueError with every mistake, one a line.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"is not TOML: {error}") from error
    mistakes = [f"unknown key {key}" for key in document if key != "user"]
    tables = document.get("user", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes, tables = [*mistakes, "rows are written as [[user]]"], []
    users: dict[_Key, str] = {}
    for number, table in enumerate(tables, start=1):
        mistakes += [f"user {number}: {mistake}" for mistake in _take_row(table, users)]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return UserRows(users)


def _take_row(table: dict[str, Any], users: dict[_Key, str]) -> list[str]:
    """Put one row into `users`, or say what is wrong with it."""
    mistakes = _mistakes_of_row(table)
    if mistakes:
        return mistakes
    claim = table.get("claim", "")
    value = table["value"] if claim else table["subject"]
    key: _Key = (table["issuer"], claim, type(value), value)
    if key in users:
        return [f"a row for this {claim or 'subject'} stands further up"]
    users[key] = table["user"]
    return []


def _mistakes_of_row(table: dict[str, Any]) -> list[str]:
    mistakes = [f"unknown key {key}" for key in sorted(table.keys() - _KEYS)]
    mistakes += [
        f"{key} must be a text that is not empty"
        for key in ("issuer", "subject", "claim", "user")
        if (key in table or key in ("issuer", "user"))
        and not (isinstance(table.get(key), str) and table[key])
    ]
    if ("subject" in table) == ("claim" in table) or ("claim" in table) != ("value" in table):
        mistakes.append("give either subject, or claim and value")
    if "value" in table and not (
        isinstance(table["value"], str | bool | int) and table["value"] != ""
    ):
        mistakes.append("value must be a text, a whole number, true or false")
    if table.get("claim") == "groups":
        mistakes.append("groups is a list: map it by a rule with `when` and fixed_user")
    user = table.get("user")
    if isinstance(user, str) and user and not is_user_name(user):
        mistakes.append(f"user {user!r} is not an account name (a-z, 0-9, _ and -, at most 32)")
    return mistakes
