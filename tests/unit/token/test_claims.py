"""Types and sizes of single claims; whole tokens are in the security corpus."""

import pytest

from gateway.token.claims import (
    MAXIMUM_GROUPS,
    read_audiences,
    read_groups,
    read_text,
    read_time,
    require_text,
    require_time,
)
from gateway.token.refused import TokenRefused


def test_absent_is_none_and_required_is_refused() -> None:
    assert read_text({}, "acr") is None
    assert read_time({}, "nbf") is None
    for require in (require_text, require_time):
        with pytest.raises(TokenRefused, match="x is missing"):
            require({}, "x")


@pytest.mark.parametrize("value", [None, "", 1, True, [], {}, "a\x7f", "a\x85", "a" * 1025])
def test_a_text_is_short_and_printable(value: object) -> None:
    with pytest.raises(TokenRefused):
        read_text({"x": value}, "x")


@pytest.mark.parametrize("value", [0, 1.5, 1_800_000_000, 253_402_300_799])
def test_a_time_is_a_number(value: float) -> None:
    assert read_time({"x": value}, "x") == value


@pytest.mark.parametrize(
    "value", [None, True, "1", -1, 1e300, float("nan"), float("inf"), 10**400, [1], 253_402_300_800]
)
def test_a_time_is_nothing_else(value: object) -> None:
    with pytest.raises(TokenRefused, match="x is not a time"):
        read_time({"x": value}, "x")


@pytest.mark.parametrize(
    ("claims", "audiences"),
    [
        ({}, set()),
        ({"aud": "a"}, {"a"}),
        ({"aud": ["a", "b"]}, {"a", "b"}),
        ({"aud": "a b"}, {"a b"}),
    ],
)
def test_an_audience_is_one_or_several(claims: dict[str, object], audiences: set[str]) -> None:
    assert read_audiences(claims) == audiences


@pytest.mark.parametrize(
    ("value", "separator", "groups"),
    [
        (["a", "b"], None, ("a", "b")),
        ("a,b", None, ("a,b",)),
        ("a,b", ",", ("a", "b")),
        (" a , b ,", ",", ("a", "b")),
        ("a b", " ", ("a", "b")),
        (["a,b"], ",", ("a,b",)),
        ("", None, ()),
        ("", ",", ()),
        ([], None, ()),
        (None, ",", ()),
    ],
)
def test_groups_are_split_only_where_the_issuer_says_so(
    value: object, separator: str | None, groups: tuple[str, ...]
) -> None:
    assert read_groups({"g": value}, "g", separator) == groups


def test_groups_come_from_the_configured_claim_only() -> None:
    claims = {"groups": ["a"], "roles": ["b"], "cognito:groups": ["c"]}
    assert read_groups(claims, None, None) == ()
    assert read_groups(claims, "roles", None) == ("b",)
    assert read_groups(claims, "entitlements", None) == ()


@pytest.mark.parametrize("value", [1, True, {}, [1], [None], ["a" * 1025], "a" * 1025])
def test_groups_of_another_shape_are_refused(value: object) -> None:
    with pytest.raises(TokenRefused):
        read_groups({"g": value}, "g", None)


def test_groups_have_a_number() -> None:
    names = [f"g{number}" for number in range(MAXIMUM_GROUPS + 1)]
    assert len(read_groups({"g": names[1:]}, "g", None)) == MAXIMUM_GROUPS
    with pytest.raises(TokenRefused, match="array of at most"):
        read_groups({"g": names}, "g", None)
    with pytest.raises(TokenRefused, match="array of at most"):
        read_groups({"g": ",".join(names)}, "g", ",")
