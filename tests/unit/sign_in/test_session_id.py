"""Ids of sessions: which the gateway knows for its own."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sign_in.session_id import SessionIds

OLD, NEW = b"o" * 32, b"n" * 32
IDS = SessionIds((OLD,))


def test_ids_are_for_a_cookie_and_no_two_are_alike() -> None:
    made = {IDS.new() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(one) for one in made} == {43}
    assert all(IDS.are_ours(one) for one in made)


def test_a_replaced_key_still_knows_its_ids_and_one_that_was_taken_away_does_not() -> None:
    before = IDS.new()
    both = SessionIds((NEW, OLD))
    assert both.are_ours(before)
    assert SessionIds((NEW,)).are_ours(both.new()), "the first key makes them"
    assert not SessionIds((NEW,)).are_ours(before)


@pytest.mark.parametrize("place", range(43))
def test_no_character_of_an_id_can_be_another(place: int) -> None:
    """The last one too, whose lowest bits say nothing."""
    made = IDS.new()
    for other in "AQgwBRhx-_":
        if other != made[place]:
            assert not IDS.are_ours(made[:place] + other + made[place + 1 :])


@given(
    st.one_of(
        st.text(max_size=60),
        st.binary(min_size=32, max_size=32).map(
            lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")
        ),
    )
)
def test_what_was_not_made_here_is_not_ours(text: str) -> None:
    assert not IDS.are_ours(text)
