"""Mapping rules -> sentences about what in them could give one person another's account."""

import re
from collections.abc import Iterator, Mapping, Sequence

from gateway.token.conditions import Condition
from gateway.users.rules import FromClaim, UserRule

MUTABLE_CLAIMS = frozenset(
    {
        "email",
        "family_name",
        "given_name",
        "login",
        "name",
        "nickname",
        "phone_number",
        "preferred_username",
        "unique_name",
        "upn",
    }
)
"""Claims that people or help desks may change, or that providers may give to another person later
(OpenID Connect Core section 5.7: only `iss` and `sub` together are stable)."""
_UNESCAPED_DOT = re.compile(r"@[A-Za-z0-9-]+\.[A-Za-z]")


Required = Mapping[str, Condition]


def describe_risks(
    rules: Sequence[UserRule], required: Mapping[str, Required] | None = None
) -> list[str]:
    """One sentence a risk, for `check`; each begins with the place of the rule.

    `required` are the claims that every token has, by issuer.
    """
    return [
        f"{rule.name}: {risk}"
        for index, rule in enumerate(rules)
        for risk in _risks_of(rule, rules[:index], (required or {}).get(rule.issuer, {}))
    ]


def _risks_of(rule: UserRule, earlier: Sequence[UserRule], required: Required) -> Iterator[str]:
    for other in earlier:
        if other.issuer == rule.issuer and not other.when:
            yield f"is never reached, because {other.name} takes every identity of this issuer"
            break
    if isinstance(rule.source, FromClaim):
        yield from _risks_of_claim(rule, rule.source, {**required, **rule.when})


def _risks_of_claim(rule: UserRule, source: FromClaim, known: Required) -> Iterator[str]:
    if source.claim in MUTABLE_CLAIMS and not rule.binds_first_use:
        yield (
            f"the claim {source.claim} can change hands: whoever gets the name gets the account; "
            'bind = "first-use" remembers whose it is'
        )
    if source.claim == "email" and known.get("email_verified") is not True:
        yield "anybody may claim an unverified address: add when = { email_verified = true }"
    if len(source.strip_domain) > 1 and not rule.binds_first_use:
        yield 'the same name at two domains becomes one user: use bind = "first-use" or one domain'
    if source.pattern is not None and _UNESCAPED_DOT.search(source.pattern):
        yield r"a dot in the pattern's domain matches any character: write \. for a dot"
