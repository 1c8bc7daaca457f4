"""The parts of a compact JWS, and that each token has one text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.token.form import decode_segment, read_token
from gateway.token.refused import TokenRefused
from tests.tokens import as_segment, b64, good_token, make_token

LIMIT = 16_384


def test_a_token_is_taken_apart() -> None:
    header = {"alg": "RS256", "kid": "k1", "typ": "at+jwt", "x5t": "ignored"}
    text = make_token(header, {"iss": "https://idp.example.org"})
    token = read_token(text, LIMIT)
    assert (token.algorithm, token.kid, token.typ) == ("RS256", "k1", "at+jwt")
    assert token.unverified_claims == {"iss": "https://idp.example.org"}
    assert token.signing_input == text.rpartition(".")[0].encode()
    assert b64(token.signature) == text.rpartition(".")[2]


def test_what_the_header_leaves_out_is_none() -> None:
    token = read_token(make_token({"alg": "RS256"}, {}), LIMIT)
    assert (token.kid, token.typ) == (None, None)


def test_the_size_is_checked_before_anything_is_decoded() -> None:
    text = good_token()
    assert read_token(text, len(text))
    with pytest.raises(TokenRefused, match="longer than maximum_token_bytes"):
        read_token(text, len(text) - 1)


@pytest.mark.parametrize("kid", ["k1", "a" * 256, "https://idp/keys/1?v=2", "Zm9v+/==", " ", "~"])
def test_a_kid_is_any_short_printable_text(kid: str) -> None:
    text = f"{as_segment({'alg': 'RS256', 'kid': kid})}.{as_segment({})}.AAAA"
    assert read_token(text, LIMIT).kid == kid


@given(st.binary(min_size=1))
def test_a_segment_is_decoded_as_it_was_encoded(raw: bytes) -> None:
    assert decode_segment(base64.urlsafe_b64encode(raw).rstrip(b"=")) == raw


@given(st.text("ABCDwxyz0189-_gQ", min_size=1))
def test_no_two_segments_mean_the_same_bytes(segment: str) -> None:
    try:
        raw = decode_segment(segment.encode())
    except TokenRefused:
        return
    assert b64(raw) == segment
