"""(Identity, one rule) -> the user name that the rule's source gives, or Unmapped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import re2

from gateway.model import Identity
from gateway.token.conditions import Condition, claim_of
from gateway.users.rows import UserRows

MAXIMUM_CLAIM_CHARACTERS = 256
"""Far above any account name or address; a longer claim is refused, never cut."""
_PRINTABLE_ASCII = frozenset(map(chr, range(0x20, 0x7F)))


class Unmapped(Exception):
    """The rule matched, but gives this identity no name. The text says why, for the audit."""


class NameSource(Protocol):
    """Where a rule takes the user name from."""

    @property
    def may_change(self) -> bool:
        """Whether the same identity may get another name without a reload."""

    async def __call__(self, identity: Identity) -> str:
        """The name, still unchecked. Raises Unmapped."""


@dataclass(frozen=True, slots=True)
class UserRule:
    """For one issuer's identities that meet `when`. `name` is its place in the configuration."""

    name: str
    issuer: str
    when: Mapping[str, Condition]
    source: NameSource
    binds_first_use: bool = False


@dataclass(frozen=True, slots=True)
class RoleRule:
    """`role` for one issuer's identities that meet `when`."""

    issuer: str
    role: str
    when: Mapping[str, Condition]


class FixedUser:
    """Always the same user."""

    may_change = False

    def __init__(self, user: str) -> None:
        self.user = user

    async def __call__(self, identity: Identity) -> str:  # noqa: ARG002 (the Protocol's signature)
        """The user, for machine tokens too."""
        return self.user


class UserTable(Protocol):
    """The rows of a table file as they are now."""

    def __call__(self) -> UserRows:
        """Costs next to nothing and never fails: a table that has turned bad keeps its old rows."""


class FromTable:
    """The user of the row that names this identity."""

    may_change = True

    def __init__(self, table: UserTable) -> None:
        self._table = table

    async def __call__(self, identity: Identity) -> str:
        """The row's user, for machine tokens too; rows that disagree are a refusal."""
        users = self._table().users_of(identity)
        if len(users) != 1:
            raise Unmapped(
                "no row of the table names this identity"
                if not users
                else f"rows of the table disagree: {', '.join(sorted(users))}"
            )
        return next(iter(users))


class FromClaim:
    """The name in a claim, after strip_domain, lowercase and pattern, in this order.

    `strip_domain` asks for exactly one of its domains: a bare name is refused too, because
    `alice` and `alice@example.org` may be two people. `pattern` comes from compile_pattern.
    """

    may_change = False

    def __init__(
        self,
        claim: str,
        *,
        strip_domain: tuple[str, ...] = (),
        lowercase: bool = False,
        pattern: str | None = None,
    ) -> None:
        self.claim = claim
        self.strip_domain = frozenset(domain.lower() for domain in strip_domain)
        self.pattern = pattern
        self._lowercase = lowercase
        self._match = compile_pattern(pattern) if pattern is not None else None

    async def __call__(self, identity: Identity) -> str:
        """The name. Raises Unmapped for machine tokens, whose claims name clients, not people."""
        if identity.kind == "machine":
            raise Unmapped("a machine token is mapped by fixed_user or table_file only")
        text = _printable(claim_of(identity, self.claim), self.claim)
        if self.strip_domain:
            text = self._without_domain(text)
        if self._lowercase:
            text = text.lower()
        return text if self._match is None else self._matched(text, self._match)

    def _without_domain(self, text: str) -> str:
        name, _, domain = text.partition("@")
        if domain.lower() not in self.strip_domain:
            raise Unmapped(f"claim {self.claim} is not a name at a domain of strip_domain")
        return name

    def _matched(self, text: str, match: "Matcher") -> str:
        name = match(text)
        if name is None:
            raise Unmapped(f"claim {self.claim} does not match the pattern")
        return name


Matcher = Callable[[str], str | None]
"""The name in a text that matches in full, else None."""


def compile_pattern(pattern: str) -> Matcher:
    """A matcher in linear time, whatever the pattern: RE2 has no backtracking. Raises ValueError.

    A claim may be an attacker's choice, and a backtracking engine needs seconds for 256 characters
    of `(x+x+)+y`, which nothing can interrupt; RE2 needs microseconds (measured).
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"is not a regular expression of RE2: {reason}") from error
    if pattern.count("<user>") > 1:
        # RE2 for Python takes the first and says nothing.
        raise ValueError("has more than one group named user")
    group = "user" if "user" in compiled.groupindex else 0

    def match(text: str) -> str | None:
        found = compiled.fullmatch(text)
        name: str | None = None if found is None else found.group(group)
        return name

    return match


def _printable(value: object, claim: str) -> str:
    """A non-empty claim of printable ASCII: what is normalised, folded or invisible has two readings."""
    if value is None or value == "":
        raise Unmapped(f"claim {claim} is missing or empty")
    if not isinstance(value, str):
        raise Unmapped(f"claim {claim} is not a text")
    if len(value) > MAXIMUM_CLAIM_CHARACTERS or not _PRINTABLE_ASCII.issuperset(value):
        raise Unmapped(f"claim {claim} is too long or not printable ASCII")
    return value
