"""What an identity is made of, where the corpus has only a verdict."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Identity
from gateway.token.identity import TokenRules, read_identity
from gateway.token.profiles import is_id_token
from gateway.token.refused import TokenRefused
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
        ({}, ""),
    ],
)
def test_the_client_is_client_id_and_else_azp(claims: dict[str, object], client: str) -> None:
    base = {name: value for name, value in base_claims().items() if name != "client_id"}
    assert read_identity(None, {**base, **claims}, RULES, NOW, "").client_id == client


@pytest.mark.parametrize("claims", [{"sub": "cli"}, {"sub": "b", "azp": "b"}, {"sub": None}])
def test_a_token_of_nobody_but_a_client_is_a_machines(claims: dict[str, Any]) -> None:
    assert identify(**claims).kind == "machine"


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
