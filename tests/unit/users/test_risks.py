"""`check` warns of what could give one person another's account, and of nothing else."""

from typing import Any

import pytest

from gateway.users.risks import describe_risks
from gateway.users.rules import FixedUser, FromClaim, UserRule
from tests.fakes import ISSUER


def rule(source: Any, *, index: int = 0, bind: bool = False, **when: Any) -> UserRule:
    return UserRule(f"map_user.rules[{index}]", ISSUER, when, source, binds_first_use=bind)


@pytest.mark.parametrize(
    ("risky", "word"),
    [
        (rule(FromClaim("preferred_username")), "can change hands"),
        (rule(FromClaim("upn")), "can change hands"),
        (rule(FromClaim("email"), bind=True), "email_verified"),
        (rule(FromClaim("email"), bind=True, email_verified="true"), "email_verified"),
        (rule(FromClaim("sub", strip_domain=("a.org", "b.org"))), "two domains"),
        (rule(FromClaim("sub", pattern=r"(?P<user>.+)@example.org")), "a dot"),
    ],
)
def test_a_risk_is_told_with_its_place(risky: UserRule, word: str) -> None:
    risks = describe_risks([risky])
    assert len(risks) == 1
    assert risks[0].startswith("map_user.rules[0]: ")
    assert word in risks[0]


@pytest.mark.parametrize(
    "safe",
    [
        rule(FromClaim("sub")),
        rule(FromClaim("preferred_username"), bind=True),
        rule(FromClaim("email"), bind=True, email_verified=True),
        rule(FromClaim("sub", strip_domain=("a.org",))),
        rule(FromClaim("sub", pattern=r"(?P<user>.+)@example\.org")),
        rule(FixedUser("ci"), client_id="ci"),
    ],
)
def test_what_is_bound_or_cannot_change_is_no_risk(safe: UserRule) -> None:
    assert describe_risks([safe]) == []


def test_a_rule_behind_one_that_takes_everybody_is_told() -> None:
    rules = [rule(FromClaim("sub")), rule(FixedUser("ci"), index=1, client_id="ci")]
    (risk,) = describe_risks(rules)
    assert risk.startswith("map_user.rules[1]: is never reached, because map_user.rules[0] takes")
    assert describe_risks(rules[::-1]) == []


def test_what_every_token_of_the_issuer_has_needs_no_condition() -> None:
    risky = rule(FromClaim("email"), bind=True)
    assert describe_risks([risky], {ISSUER: {"email_verified": True}}) == []
    for required in ({ISSUER: {"hd": "a.org"}}, {"https://other": {"email_verified": True}}):
        assert len(describe_risks([risky], required)) == 1
    lax = rule(FromClaim("email"), bind=True, email_verified=False)
    assert len(describe_risks([lax], {ISSUER: {"email_verified": True}})) == 1
