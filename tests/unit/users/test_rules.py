"""Conditions compare as JSON does, and a name comes out of a claim in one way only."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.token.conditions import meets
from gateway.users.rows import read_user_rows
from gateway.users.rules import FixedUser, FromClaim, FromTable, Unmapped, compile_pattern
from tests.fake_users import FakeUserTable
from tests.fakes import ISSUER, make_identity


@pytest.mark.parametrize(
    ("claim", "wanted", "met"),
    [
        ("ci", "ci", True),
        ("ci", "CI", False),
        ("ci ", "ci", False),
        ("c", "ci", False),
        (["ci", "cd"], "ci", True),
        (["cicd"], "ci", False),
        ("ci cd", "ci", False),
        ("ci,cd", "ci", False),
        ("ci", ("cd", "ci"), True),
        (["x", "cd"], ("cd", "ci"), True),
        (["x"], ("cd", "ci"), False),
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        ("true", True, False),
        (1.0, 1, False),
        (0, False, False),
        ("1", 1, False),
        ("", "", False),
        ([""], "", False),
        (None, "", False),
        (None, False, False),
        ([], False, False),
        ([["ci"]], "ci", False),
        ({"ci": True}, "ci", False),
        ("anything", (), False),
    ],
)
def test_a_condition_is_met_by_the_same_value_of_the_same_type(
    claim: object, wanted: Any, met: bool
) -> None:
    assert meets(make_identity(claims={"claim": claim}), {"claim": wanted}) is met


def test_every_condition_must_be_met_and_none_is_met_by_everybody() -> None:
    identity = make_identity(claims={"a": "1", "b": "2"})
    assert meets(identity, {"a": "1", "b": "2"})
    assert not meets(identity, {"a": "1", "b": "3"})
    assert not meets(identity, {"a": "1", "absent": "2"})
    assert meets(identity, {})


@pytest.mark.parametrize("name", ["client_id", "groups"])
def test_client_id_and_groups_mean_what_authenticate_validated(name: str) -> None:
    identity = make_identity(client_id="real", groups=("real",), claims={name: ["forged"]})
    assert meets(identity, {name: "real"})
    assert not meets(identity, {name: "forged"})


@pytest.mark.parametrize(
    ("settings", "claim", "name"),
    [
        ({}, "alice", "alice"),
        ({}, "Alice", "Alice"),
        ({"lowercase": True}, "ALICE", "alice"),
        ({"strip_domain": ("example.org",)}, "alice@example.org", "alice"),
        ({"strip_domain": ("example.org",)}, "alice@EXAMPLE.org", "alice"),
        ({"strip_domain": ("Example.ORG",)}, "alice@example.org", "alice"),
        ({"strip_domain": ("a.org", "b.org")}, "alice@b.org", "alice"),
        ({"strip_domain": ("a.org",), "lowercase": True}, "Alice@A.org", "alice"),
        ({"pattern": "[a-z]+"}, "alice", "alice"),
        ({"pattern": r"(?P<user>[a-z]+)@example\.org"}, "alice@example.org", "alice"),
        ({"pattern": r"CORP\\(?P<user>[a-z]+)"}, "CORP\\alice", "alice"),
        ({"pattern": r"[A-Z][a-z ]+ \((?P<user>[a-z]+)\)"}, "Alice of them (alice)", "alice"),
        (
            {"strip_domain": ("x.org",), "lowercase": True, "pattern": "u-(?P<user>[a-z]+)"},
            "U-Alice@X.org",
            "alice",
        ),
    ],
)
async def test_a_name_is_taken_from_a_claim(
    settings: dict[str, Any], claim: str, name: str
) -> None:
    assert await FromClaim("c", **settings)(make_identity(claims={"c": claim})) == name


@pytest.mark.parametrize(
    ("settings", "claim"),
    [
        ({"strip_domain": ("example.org",)}, "alice"),
        ({"strip_domain": ("example.org",)}, "alice@"),
        ({"strip_domain": ("example.org",)}, "alice@example.org."),
        ({"strip_domain": ("example.org",)}, "alice@evil.org"),
        ({"strip_domain": ("example.org",)}, "alice@evil.org@example.org"),
        ({"strip_domain": ("example.org",)}, "alice@example.org@evil.org"),
        ({"strip_domain": ("example.org",)}, "alice@@example.org"),
        ({"strip_domain": ("example.org",)}, "alice@sub.example.org"),
        ({"pattern": "[a-z]+"}, "alice1"),
        ({"pattern": "[a-z]+"}, "alice\n"),
        ({"pattern": "alice|bob"}, "alicebob"),
        ({"pattern": "(?P<user>a)|b"}, "b"),
        ({}, None),
        ({}, ""),
        ({}, ["alice"]),
        ({}, {"name": "alice"}),
        ({}, 7),
        ({}, True),
        ({}, False),
        ({}, "a" * 257),
        ({}, "alice\x7f"),
        ({"lowercase": True}, "\u212aate"),
    ],
)
async def test_a_claim_that_is_not_exactly_that_gives_no_name(
    settings: dict[str, Any], claim: object
) -> None:
    with pytest.raises(Unmapped):
        await FromClaim("c", **settings)(make_identity(claims={"c": claim}))


async def test_no_claim_names_a_machine() -> None:
    with pytest.raises(Unmapped):
        await FromClaim("c")(make_identity(kind="machine", claims={"c": "alice"}))


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "(?=a)a", r"(a)\1", "(?P<user>a", "a{1001}"])
def test_a_pattern_that_is_not_of_the_linear_engine_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression of RE2"):
        compile_pattern(pattern)


def test_two_groups_for_the_user_are_two_readings() -> None:
    with pytest.raises(ValueError, match="more than one group named user"):
        compile_pattern("(?P<user>a)x|(?P<user>b)")


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(a|a)*b", "(.*)*z", "(x*)*(x*)*(x*)*y"])
async def test_a_pattern_that_would_never_end_elsewhere_just_does_not_match(pattern: str) -> None:
    source = FromClaim("c", pattern=pattern)
    for claim in ("x" * 256, "a" * 256):
        with pytest.raises(Unmapped):
            await source(make_identity(claims={"c": claim}))


@given(st.text())
def test_any_text_compiles_or_is_refused_with_a_sentence(pattern: str) -> None:
    with suppress(ValueError):
        name = compile_pattern(pattern)("alice")
        assert name is None or name in "alice"


async def test_rows_that_disagree_are_a_refusal_and_rows_that_agree_are_not() -> None:
    rows = f"""
        [[user]]
        issuer = "{ISSUER}"
        subject = "s"
        user = "alice"
        [[user]]
        issuer = "{ISSUER}"
        claim = "employee"
        value = 7
        user = "bob"
        [[user]]
        issuer = "{ISSUER}"
        claim = "employee"
        value = 8
        user = "alice"
    """
    source = FromTable(FakeUserTable(read_user_rows(rows)))
    assert await source(make_identity(subject="s", claims={"employee": 8})) == "alice"
    assert await source(make_identity(subject="t", claims={"employee": 7})) == "bob"
    for nobody in ({"employee": "7"}, {"employee": 9}, {"employee": [7]}, {}):
        with pytest.raises(Unmapped):
            await source(make_identity(subject="t", claims=nobody))
    with pytest.raises(Unmapped, match="disagree: alice, bob"):
        await source(make_identity(subject="s", claims={"employee": 7}))


async def test_a_fixed_user_is_everybodys() -> None:
    assert await FixedUser("ci")(make_identity(kind="machine")) == "ci"


CLAIMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.text("aB@.x\n", max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


@given(CLAIMS, st.sampled_from([(), ("x",), ("a.x", "X")]), st.booleans())
async def test_any_claim_is_a_name_out_of_it_or_unmapped(
    claim: Any, domains: tuple[str, ...], lowercase: bool
) -> None:
    source = FromClaim("c", strip_domain=domains, lowercase=lowercase)
    with suppress(Unmapped):
        name = await source(make_identity(claims={"c": claim}))
        said = claim.lower() if lowercase else claim
        tails = ("", *(f"@{domain.lower()}" for domain in domains))
        assert said.lower() in {f"{name.lower()}{tail}" for tail in tails}
        assert said.startswith(name)
        assert claim.isascii()
        assert claim.isprintable()
        assert bool(domains) == ("@" in said[len(name) :])
