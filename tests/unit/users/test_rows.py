"""A user table says all its mistakes at once, and a row names one identity of one issuer."""

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.users.rows import read_user_rows
from tests.fakes import ISSUER, make_identity

ROW = f'[[user]]\nissuer = "{ISSUER}"\n'


def test_a_table_without_rows_names_nobody() -> None:
    rows = read_user_rows("# nobody yet\n")
    assert len(rows) == 0
    assert rows.users_of(make_identity()) == frozenset()


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ('subject = "subject-of-alice"\nuser = "alice"', True),
        ('subject = "Subject-of-alice"\nuser = "alice"', False),
        ('claim = "client_id"\nvalue = "cli"\nuser = "alice"', True),
        ('claim = "badge"\nvalue = true\nuser = "alice"', True),
        ('claim = "badge"\nvalue = 1\nuser = "alice"', False),
        ('claim = "sub"\nvalue = "subject-of-alice"\nuser = "alice"', True),
    ],
)
def test_a_row_names_an_identity_exactly(row: str, found: bool) -> None:
    claims = {"sub": "subject-of-alice", "client_id": "forged", "badge": True}
    identity = make_identity(claims=claims)
    assert read_user_rows(ROW + row).users_of(identity) == ({"alice"} if found else set())


def test_a_row_is_for_its_own_issuer_only() -> None:
    rows = read_user_rows(
        ROW.replace("idp", "other") + 'subject = "subject-of-alice"\nuser = "alice"'
    )
    assert rows.users_of(make_identity()) == frozenset()


def test_a_row_by_claim_is_for_its_own_issuer_only() -> None:
    rows = read_user_rows(
        ROW.replace("idp", "other") + 'claim = "client_id"\nvalue = "cli"\nuser = "alice"'
    )
    assert rows.users_of(make_identity()) == frozenset()


def test_a_token_without_subject_meets_no_row_by_subject() -> None:
    rows = read_user_rows(ROW + 'subject = "s"\nuser = "alice"')
    assert rows.users_of(make_identity(kind="machine", subject="")) == frozenset()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("user = 1", r"rows are written as \[\[user\]\]"),
        ("[user]\nissuer = 'x'", r"rows are written as"),
        ("users = []", "unknown key users"),
        ("not toml", "is not TOML"),
        (ROW + 'subject = "s"', "user 1: user must be a text"),
        (ROW + 'user = "alice"', "give either subject, or claim and value"),
        (ROW + 'subject = "s"\nclaim = "c"\nvalue = "v"\nuser = "alice"', "give either subject"),
        (ROW + 'claim = "c"\nuser = "alice"', "give either subject"),
        (ROW + 'subject = "s"\nvalue = "v"\nuser = "alice"', "give either subject"),
        (ROW + 'subject = ""\nuser = "alice"', "subject must be a text that is not empty"),
        (ROW + 'subject = 5\nuser = "alice"', "subject must be a text"),
        (ROW + 'claim = "c"\nvalue = ""\nuser = "alice"', "value must be a text"),
        (ROW + 'claim = "c"\nvalue = 1.5\nuser = "alice"', "value must be a text"),
        (ROW + 'claim = "c"\nvalue = ["v"]\nuser = "alice"', "value must be a text"),
        (ROW + 'claim = "groups"\nvalue = "g"\nuser = "alice"', "groups is a list"),
        (ROW + 'subject = "s"\nuser = "Alice"', "is not an account name"),
        (ROW + 'subject = "s"\nuser = "alice"\nname = "x"', "unknown key name"),
        ('[[user]]\nsubject = "s"\nuser = "alice"', "issuer must be a text"),
        (
            (ROW + 'subject = "s"\nuser = "alice"\n') * 2,
            "user 2: a row for this subject stands further up",
        ),
        (
            (ROW + 'claim = "c"\nvalue = 1\nuser = "alice"\n') * 2,
            "user 2: a row for this c stands further up",
        ),
    ],
)
def test_a_mistake_is_named_with_its_row(text: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        read_user_rows(text)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)unknown key x.*user 1:.*user 2:"):
        read_user_rows("x = 1\n[[user]]\n[[user]]\n")


@given(st.text() | st.text(alphabet='[]user="\n.{}0', max_size=60))
def test_any_text_is_rows_or_mistakes(text: str) -> None:
    rows = None
    with suppress(ValueError):
        rows = read_user_rows(text)
    if rows is not None:
        assert len(rows) == len(tomllib.loads(text).get("user", []))
