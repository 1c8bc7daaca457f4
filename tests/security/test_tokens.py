"""Every bad token gets one and the same answer, for the right reason, and shows nothing of itself."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import Identity, Secret
from tests.examples import tried
from tests.fakes import make_request
from tests.security.described_tokens import Entry, build_stage, build_token
from tests.tokens import (
    METADATA,
    FakeKeys,
    base_claims,
    base_header,
    good_token,
    make_stage,
    make_token,
    public_jwk,
    trusted_issuer,
)

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/tokens.toml").read_text())
CHALLENGE = (
    'Bearer realm="slurm-gateway", error="invalid_token", '
    'error_description="The access token is not valid here.", '
    f'resource_metadata="{METADATA}"'
)
OUR_WORDS = f"{CHALLENGE} at+jwt"
LONGEST_CAUSE = 120


async def judge(entry: Entry, token: str) -> Identity:
    return await build_stage(entry)(make_request(bearer=Secret(token)))


def name_of(entry: Entry) -> str:
    return str(entry["name"])


@pytest.mark.parametrize("entry", CORPUS["attack"], ids=name_of)
async def test_an_attack_is_refused_for_its_own_reason(entry: Entry) -> None:
    with pytest.raises(Denied) as caught:
        await judge(entry, build_token(entry))
    assert caught.value.note.startswith(entry["cause"])
    assert caught.value.reason is Reason.TOKEN_INVALID
    assert caught.value.headers == (("WWW-Authenticate", CHALLENGE),)
    assert caught.value.detail == Reason.TOKEN_INVALID.sentence


@pytest.mark.parametrize("entry", CORPUS["accepted"], ids=name_of)
async def test_a_good_token_is_accepted(entry: Entry) -> None:
    identity = await judge(entry, build_token(entry))
    assert identity.kind == entry.get("kind", "user")
    assert identity.subject == entry.get("subject", "subject-of-alice")
    assert identity.client_id == entry.get("client_id", "cli")
    assert identity.groups == tuple(entry.get("groups", ["hpc-users"]))


def test_the_corpus_names_each_entry_once_and_each_attack_its_class() -> None:
    entries = CORPUS["attack"] + CORPUS["accepted"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert all(isinstance(entry["class"], int) for entry in CORPUS["attack"])


@pytest.mark.parametrize("entry", CORPUS["attack"], ids=name_of)
async def test_a_refusal_shows_nothing_of_the_token(entry: Entry) -> None:
    """Neither its text nor a claim: the note goes to the audit, which people read."""
    token = build_token(entry)
    with pytest.raises(Denied) as caught:
        await judge(entry, token)
    denied = caught.value
    shown = f"{denied!r} {denied} {denied.note} {denied.detail} {denied.headers} {denied.members}"
    assert denied.__cause__ is None
    assert denied.__suppress_context__
    assert len(denied.note) < LONGEST_CAUSE
    segments = [segment for segment in token.split(".") if len(segment) > 3]
    assert not [segment for segment in segments if segment in shown]
    values = [
        value
        for part in ("header", "claims")
        for value in entry.get(part, {}).values()
        if isinstance(value, str) and len(value) > 4
    ]
    assert not [value for value in values if value in shown and value not in OUR_WORDS]


TOKEN = good_token()
STAGE = make_stage(
    trusted_issuer("oidc"), trusted_issuer("rfc9068"), trusted_issuer("cognito"), cached_tokens=1
)
FUZZ = tried(300)


async def verdict(token: str) -> Identity | Denied:
    try:
        return await STAGE(make_request(bearer=Secret(token)))
    except Denied as denied:
        refusal = denied
    assert refusal.reason is Reason.TOKEN_INVALID
    return refusal


@FUZZ
@given(st.text(max_size=200))
async def test_any_text_is_refused(token: str) -> None:
    assert isinstance(await verdict(token), Denied)


@FUZZ
@given(st.binary(max_size=200))
async def test_any_bytes_are_refused(token: bytes) -> None:
    """The bytes as a header field carries them into the program."""
    assert isinstance(await verdict(token.decode("latin-1")), Denied)


@FUZZ
@given(st.integers(0, len(TOKEN) - 1), st.characters(max_codepoint=0x17F))
async def test_a_token_with_one_character_changed_is_refused(place: int, other: str) -> None:
    changed = TOKEN[:place] + other + TOKEN[place + 1 :]
    assert isinstance(await verdict(changed), Identity if changed == TOKEN else Denied)


@FUZZ
@given(st.integers(0, len(TOKEN)), st.integers(0, len(TOKEN)), st.text(max_size=3))
async def test_a_token_that_is_cut_or_spliced_is_refused(start: int, end: int, put: str) -> None:
    changed = TOKEN[:start] + put + TOKEN[end:]
    assert isinstance(await verdict(changed), Identity if changed == TOKEN else Denied)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
REGISTERED = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "azp", "acr"]
OTHERS = ["groups", "auth_time", "cnf", "typ", "token_use", "nonce", "events", "cognito:groups"]
CLAIM_NAMES = st.sampled_from([*REGISTERED, *OTHERS])
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip", "jwk", "jku", "enc"])
JWK_NAMES = st.sampled_from(
    ["kty", "n", "e", "crv", "x", "y", "use", "key_ops", "alg", "kid", "d", "k", "oth", "x5c"]
)
JWK_WORDS = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "RS256"])


@FUZZ
@given(
    st.sampled_from(["oidc", "rfc9068", "cognito"]),
    st.dictionaries(CLAIM_NAMES, JSON, max_size=4),
    st.dictionaries(HEADER_NAMES, JSON, max_size=2),
)
async def test_any_claims_that_the_issuer_signs_end_in_a_verdict(
    issuer: str, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    """A well-signed token with odd claims is an Identity or a refusal, never another exception."""
    token = make_token({**base_header(issuer), **header}, {**base_claims(issuer), **claims}, issuer)
    identity = await verdict(token)
    if isinstance(identity, Identity):
        assert identity.subject or identity.client_id
        assert all(isinstance(group, str) and group for group in identity.groups)


@FUZZ
@given(st.binary(max_size=80))
async def test_any_payload_that_the_issuer_signs_ends_in_a_verdict(payload: bytes) -> None:
    assert isinstance(await verdict(make_token(base_header(), payload)), Denied)


@FUZZ
@given(st.dictionaries(JWK_NAMES, JSON | JWK_WORDS))
def test_any_jwk_is_a_key_or_left_out(members: dict[str, Any]) -> None:
    keys = FakeKeys(members, {**public_jwk("oidc"), **members})
    assert all(key.algorithms for key in keys.keys.keys)
