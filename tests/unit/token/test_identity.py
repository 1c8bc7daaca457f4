"""What an identity is made of, where the corpus has only a verdict."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Identity
from gateway.token.identity import TokenRules, read_identity
from gateway.token.profiles import is_id_token
from gateway.token.refused import NotAdmitted, TokenRefused
from tests.tokens import NOW, base_claims, trusted_issuer

RULES = trusted_issuer("oidc").rules


def identify(rules: TokenRules = RULES, now: float = NOW, **claims: object) -> Identity:
    return read_identity(None, {**base_claims(), **claims}, rules, now, "00ff")


@pytest.mark.parametrize(
    ("value", "auth_time"),
    [(NOW - 5, NOW - 5), ("1", None), (True, None), (None, None), (-1, None)],
)
def test_a_login_time_that_is_no_time_is_none(value: object, auth_time: float | None) -> None:
    """A rule that asks for a recent login then refuses; the token itself is not about that."""
    assert identify(auth_time=value).auth_time == auth_time


@pytest.mark.parametrize(("value", "acr"), [("silver", "silver"), (0, ""), (None, ""), (["a"], "")])
def test_an_authentication_class_that_is_no_text_is_empty(value: object, acr: str) -> None:
    assert identify(acr=value).acr == acr


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({"client_id": "a", "azp": "b"}, "a"),
        ({"azp": "b"}, "b"),
        ({"azp": "b", "cid": "c"}, "b"),
        ({"cid": "c"}, "c"),
        ({"appid": "d"}, "d"),
        ({"cid": 7}, ""),
        ({}, ""),
    ],
)
def test_the_client_is_client_id_and_else_azp_and_else_what_a_provider_calls_it(
    claims: dict[str, object], client: str
) -> None:
    base = {name: value for name, value in base_claims().items() if name != "client_id"}
    assert read_identity(None, {**base, **claims}, RULES, NOW, "").client_id == client


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "cli"},
        {"sub": "b", "azp": "b"},
        {"sub": "b", "cid": "b"},
        {"sub": None},
        {"idtyp": "app"},
        {"preferred_username": "service-account-cli"},
        {"azp": "b", "preferred_username": "service-account-b"},
    ],
)
def test_a_token_of_nobody_but_a_client_is_a_machines(claims: dict[str, Any]) -> None:
    assert identify(**claims).kind == "machine"


@pytest.mark.parametrize(
    "claims",
    [{"cid": "b"}, {"idtyp": "user"}, {"preferred_username": "service-account-"}, {"azp": "b"}],
)
def test_a_person_at_a_client_is_a_person(claims: dict[str, Any]) -> None:
    assert identify(**claims).kind == "user"


BY_OID = replace(RULES, subject_claim="oid")


def test_another_claim_than_sub_can_be_the_person() -> None:
    assert identify(BY_OID, oid="alice-everywhere").subject == "alice-everywhere"
    assert (
        identify(BY_OID, oid="cli").kind == identify(BY_OID, oid="x", sub="cli").kind == "machine"
    )


@pytest.mark.parametrize("claims", [{}, {"oid": ""}, {"oid": None}, {"oid": 7}, {"oid": ["a"]}])
def test_a_token_without_the_claim_that_is_the_person_is_refused(claims: dict[str, Any]) -> None:
    """Never `sub` instead: it would be somebody else's name."""
    with pytest.raises(TokenRefused, match="oid"):
        identify(BY_OID, **claims)


@pytest.mark.parametrize(
    ("required", "claims", "admitted"),
    [
        ({}, {}, True),
        ({"hd": "a.org"}, {"hd": "a.org"}, True),
        ({"hd": "a.org"}, {}, False),
        ({"hd": "a.org"}, {"hd": "b.org"}, False),
        ({"hd": "a.org"}, {"hd": None}, False),
        ({"hd": ""}, {"hd": ""}, False),
        ({"hd": ("a.org", "b.org")}, {"hd": "b.org"}, True),
        ({"email_verified": True}, {"email_verified": True}, True),
        ({"email_verified": True}, {"email_verified": "true"}, False),
        ({"email_verified": True}, {"email_verified": 1}, False),
        ({"hd": "a.org", "email_verified": True}, {"hd": "a.org"}, False),
        ({"groups": "hpc-users"}, {}, True),
        ({"groups": "hpc-admins"}, {}, False),
    ],
)
def test_every_token_has_to_have_what_the_issuer_requires(
    required: dict[str, Any], claims: dict[str, Any], admitted: bool
) -> None:
    rules = replace(RULES, required_claims=required)
    if admitted:
        assert identify(rules, **claims).subject == "subject-of-alice"
        return
    with pytest.raises(NotAdmitted, match=f"{next(reversed(required))}$"):
        identify(rules, **claims)


def test_limits_and_shares_of_a_machine_without_sub_go_by_its_client() -> None:
    machine = identify(sub=None)
    assert machine.key == identify(sub=None, jti="another").key
    assert machine.key not in {identify(sub="cli").key, identify(sub="client:cli").key}
    assert machine.key != identify(sub=None, client_id="other").key


def test_the_leeway_and_the_longest_lifetime_are_the_issuers() -> None:
    strict = replace(RULES, leeway_seconds=0, maximum_lifetime_seconds=3660)
    assert identify(strict).expires == NOW + 3600
    with pytest.raises(TokenRefused, match="expired"):
        identify(strict, now=NOW + 3600)
    with pytest.raises(TokenRefused, match="exp minus iat"):
        identify(strict, exp=NOW + 3601)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"nonce": None}, True),
        ({"at_hash": "x"}, True),
        ({"c_hash": "x"}, True),
        ({"token_use": "id"}, True),
        ({"typ": "ID"}, True),
        ({"token_use": "access", "typ": "Bearer", "scope": "openid"}, False),
    ],
)
def test_an_id_token_is_known_by_its_claims(claims: dict[str, object], expected: bool) -> None:
    assert is_id_token(claims, frozenset({"api"}), frozenset({"portal"})) is expected


def test_an_id_token_is_known_by_whom_it_is_for() -> None:
    assert is_id_token({}, frozenset({"portal"}), frozenset({"portal"}))
    assert not is_id_token({}, frozenset(), frozenset({"portal"}))
