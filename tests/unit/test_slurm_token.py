"""A token for Slurm is exactly HS256 over the stored bytes; a foreign one is read, never trusted."""

import base64
import json
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from gateway.slurm_token import SlurmKey, read_slurm_token, slurm_user_of

CLAIMS = {"sun": "alice", "iat": 1_800_000_000, "exp": 1_800_000_120}


def encode(payload: object) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return "e30." + base64.urlsafe_b64encode(raw).rstrip(b"=").decode() + ".c2ln"


@pytest.mark.parametrize(
    "stored", [b"k" * 32, bytes(range(256)), b"line one of the key\nline two of it\n\n"]
)
def test_a_signed_token_verifies_with_the_stored_bytes_and_no_others(stored: bytes) -> None:
    token = SlurmKey(stored).sign(CLAIMS).reveal
    verified = jwt.decode(token, OctKey.import_key(stored), algorithms=["HS256"])
    assert verified.claims == CLAIMS
    assert verified.header == {"alg": "HS256", "typ": "JWT"}
    with pytest.raises(Exception, match="bad_signature"):
        jwt.decode(token, OctKey.import_key(stored[:-1] + b"?"), algorithms=["HS256"])


def test_a_private_key_in_pem_is_a_key_byte_for_byte() -> None:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    token = SlurmKey(pem).sign(CLAIMS).reveal
    # joserfc warns about such keys when it imports them, so it is given the bytes as they are.
    assert jwt.decode(token, OctKey(pem, pem), algorithms=["HS256"]).claims == CLAIMS


PUBLIC = rsa.generate_private_key(65537, 2048).public_key()


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b"", "is empty"),
        (b"short", "has 5 bytes; an HS256 key needs 32"),
        (b"k" * 31, "has 31 bytes"),
        (PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "public key"),
        (PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1), "public key"),
        (b"\n-----BEGIN CERTIFICATE-----" + b"A" * 64, "public key or certificate"),
    ],
)
def test_what_is_no_secret_is_refused_with_a_sentence(stored: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SlurmKey(stored)


def test_a_key_shows_itself_to_nobody() -> None:
    key = SlurmKey(b"canary-of-the-key" * 2)
    assert "canary" not in repr(key)
    assert "canary" not in str(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("text", ["{}", " {}\n", "SLURM_JWT={}", "SLURM_JWT={}\n"])
def test_a_token_is_read_raw_or_as_scontrol_prints_it(text: str) -> None:
    token = encode({"sun": "alice", "exp": 1_800_000_120})
    read = read_slurm_token(text.format(token))
    assert (read.secret.reveal, read.unverified_user) == (token, "alice")
    assert read.unverified_expires == 1_800_000_120


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"sun": "alice"}, "alice"),
        ({"username": "alice"}, "alice"),
        ({"sun": "alice", "username": "bob"}, "alice"),
        ({"sub": "alice", "preferred_username": "alice"}, None),
        ({}, None),
    ],
)
def test_slurm_reads_sun_and_else_username(claims: dict[str, object], user: str | None) -> None:
    assert slurm_user_of(claims) == user


@pytest.mark.parametrize("claims", [{"sun": 7}, {"sun": ["alice"]}, {"username": True}])
def test_a_user_that_is_no_text_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="something else than a text"):
        slurm_user_of(claims)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SLURM_JWT=",
        "canary",
        "canary.canary",
        "canary.canary.",
        "canary.canary.canary.canary",
        encode({"sun": "canary", "exp": 1}) + "\r\nX-SLURM-USER-NAME: root",
        encode({"sun": "canary", "exp": 1}) + " extra",
        f"{encode({'sun': 'canary', 'exp': 1})}\n{encode({'sun': 'canary', 'exp': 1})}",
        encode({"sun": "canary", "exp": 1}) + "A" * 40_000,
        encode({"exp": 1}),
        encode({"sun": "", "exp": 1}),
        encode({"sun": None, "exp": 1}),
        encode({"sun": "canary"}),
        encode({"sun": "canary", "exp": "1800000000"}),
        encode({"sun": "canary", "exp": True}),
        encode({"sun": "canary", "exp": -1}),
        encode({"sun": "canary", "exp": 1e300}),
        encode(b'{"sun":"alice","sun":"canary","exp":1}'),
        encode(b'{"sun":"canary","exp":NaN}'),
        encode(["canary"]),
        encode(b"\xff\xfe"),
        encode(b"[" * 100_000)[:30_000],
    ],
)
def test_what_is_not_one_token_with_a_user_and_an_end_is_refused_without_quoting_it(
    text: str,
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_slurm_token(text)
    assert "canary" not in str(caught.value)


@given(st.text() | st.binary().map(encode) | st.dictionaries(st.text(), st.text()).map(encode))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        read = read_slurm_token(text)
    except ValueError:
        return
    assert read.unverified_user
    assert read.secret.reveal.isascii()
