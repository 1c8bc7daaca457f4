"""Whose a session is, by the claims that a bearer token is judged by."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Identity
from gateway.sign_in.contents import identity_of
from gateway.sign_in.session import Session
from gateway.sign_in.signed import ClientRules
from gateway.token.refused import NotAdmitted, TokenRefused
from tests.fakes import ISSUER

SESSION = Session("h" * 64, "campus", ISSUER, "alice-here", "", 0, 0, 900, 0, "", "", b"")
RULES = ClientRules(ISSUER, "web", frozenset({"RS256"}), 30.0, "groups")


def identify(rules: ClientRules = RULES, session: Session = SESSION, **claims: Any) -> Identity:
    return identity_of(session, {"sub": "alice-here", **claims}, rules)


def test_a_session_is_its_subjects() -> None:
    assert identify(preferred_username="alice").subject == "alice-here"


def test_another_claim_than_sub_can_be_the_person() -> None:
    rules = replace(RULES, subject_claim="oid")
    assert identify(rules, oid="alice-everywhere").subject == "alice-everywhere"
    for claims in ({}, {"oid": ""}, {"oid": 7}):
        with pytest.raises(TokenRefused, match="oid"):
            identify(rules, **claims)


@pytest.mark.parametrize("required", [{"hd": "a.org"}, {"email_verified": True}])
def test_a_session_has_to_have_what_the_issuer_requires(required: dict[str, Any]) -> None:
    rules = replace(RULES, required_claims=required)
    assert identify(rules, **required).kind == "user"
    with pytest.raises(NotAdmitted):
        identify(rules, hd="b.org", email_verified="true")


@pytest.mark.parametrize(
    "claims",
    [
        {"azp": "alice-here"},
        {"client_id": "alice-here"},
        {"cid": "alice-here"},
        {"idtyp": "app"},
        {"preferred_username": "service-account-web"},
    ],
)
def test_a_client_has_no_session(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused, match="a client"):
        identify(**claims)


def test_a_session_of_another_issuer_by_now_is_nobodys() -> None:
    with pytest.raises(TokenRefused, match="another one by now"):
        identify(session=replace(SESSION, issuer="https://other.example.org"))
