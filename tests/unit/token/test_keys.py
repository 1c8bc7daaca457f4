"""Which published keys verify, what for, and what becomes of the rest of the set."""

import json

import pytest

from gateway.token.keys import KeyUnusable, read_key, read_key_set
from tests.tokens import private_key, public_jwk, sign

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def key_set(*jwks: object) -> bytes:
    return json.dumps({"keys": jwks}).encode()


@pytest.mark.parametrize(
    ("name", "algorithms"),
    [("oidc", RSA), ("ec:P-256", {"ES256"}), ("ec:P-384", {"ES384"}), ("ed", {"EdDSA"})],
)
def test_a_key_verifies_what_its_type_allows(name: str, algorithms: set[str]) -> None:
    key = read_key(public_jwk(name))
    assert key.algorithms == algorithms
    for algorithm in algorithms:
        signature = sign(b"text", algorithm, name)
        assert key.verifies(algorithm, b"text", signature)
        assert not key.verifies(algorithm, b"other text", signature)


def test_a_key_does_not_verify_by_an_algorithm_that_it_is_not_for() -> None:
    key = read_key(public_jwk("oidc", alg="RS256"))
    assert not key.verifies("RS512", b"text", sign(b"text", "RS512", "oidc"))
    assert not key.verifies("none", b"text", b"")
    assert not key.verifies("HS256", b"text", b"")


@pytest.mark.parametrize(
    "signature", [b"", b"\x00", bytes(64), bytes(255), bytes(257), b"\xff" * 256, b"\xff" * 4096]
)
@pytest.mark.parametrize("name", ["oidc", "ec:P-256", "ec:P-384", "ed"])
def test_a_signature_of_any_bytes_is_no_error(name: str, signature: bytes) -> None:
    key = read_key(public_jwk(name))
    assert not any(key.verifies(algorithm, b"text", signature) for algorithm in key.algorithms)


UNUSABLE = [
    ({"kty": None}, "not a public"),
    ({"kty": "rsa"}, "not a public"),
    ({"kty": "oct", "k": "AAAA"}, "holds a secret"),
    ({"d": "AQAB"}, "holds a secret"),
    ({"n": None}, "not a public"),
    ({"n": 5}, "not a public"),
    ({"n": ""}, "not of 2048"),
    ({"n": "AQAB"}, "not of 2048"),
    ({"n": "not base64!"}, "cannot be imported|base64url"),
    ({"n": "ü"}, "base64url"),
    ({"n": "A" * 1367 + "E"}, "not of 2048"),
    ({"n": "_" * 1400}, "not of 2048"),
    ({"e": "AQ"}, "exponent"),
    ({"e": "Aw"}, "exponent"),
    ({"e": "AQAC"}, "exponent"),
    ({"e": "AQAAAAE"}, "exponent"),
    ({"e": None}, "not a public"),
    ({"kid": 1}, "kid"),
    ({"kid": ""}, "kid"),
    ({"kid": "k" * 257}, "kid"),
    ({"use": "enc"}, "use"),
    ({"use": ["sig"]}, "use"),
    ({"key_ops": ["sign", "wrapKey"]}, "key_ops"),
    ({"key_ops": None, "use": "SIG"}, "use"),
    ({"alg": "HS256"}, "alg"),
    ({"alg": "ES256"}, "alg"),
    ({"alg": "none"}, "alg"),
    ({"alg": ["RS256"]}, "alg"),
    ({"alg": "RS1"}, "alg"),
]


@pytest.mark.parametrize(("members", "why"), UNUSABLE, ids=str)
def test_a_key_that_must_not_verify_is_unusable(members: dict[str, object], why: str) -> None:
    with pytest.raises(KeyUnusable, match=why):
        read_key(public_jwk("oidc", **members))


@pytest.mark.parametrize(
    "jwk",
    [
        public_jwk("ec:P-256", crv="secp256k1"),
        public_jwk("ec:P-256", crv="P-384"),
        public_jwk("ec:P-256", y=public_jwk("ec:P-256")["x"]),
        public_jwk("ec:P-256", x="AAAA"),
        public_jwk("ed", crv="Ed448"),
        public_jwk("ed", crv="X25519"),
        public_jwk("ed", x="AAAA"),
        "RSA",
        None,
        [],
        {},
    ],
    ids=lambda jwk: f"{jwk.get('kty')} {jwk.get('crv')}" if isinstance(jwk, dict) else str(jwk),
)
def test_a_key_that_is_none_is_unusable(jwk: object) -> None:
    with pytest.raises(KeyUnusable):
        read_key(jwk)


def test_an_rsa_key_of_1024_bits_is_unusable() -> None:
    with pytest.raises(KeyUnusable, match="2048"):
        read_key(public_jwk("rsa:1024"))


def test_keys_that_cannot_be_used_are_left_out_and_named() -> None:
    found = read_key_set(key_set(public_jwk("spare", use="enc"), public_jwk("oidc"), 7))
    assert [key.kid for key in found.keys] == ["k1"]
    assert found.skipped == ("keys[0]: use is not sig", "keys[2]: not an object")


def test_keys_are_found_by_kid() -> None:
    found = read_key_set(key_set(public_jwk("oidc"), public_jwk("spare", kid=None)))
    assert [key.kid for key in found.matching("k1")] == ["k1"]
    assert [key.kid for key in found.matching(None)] == ["k1", None]
    assert list(found.matching("k2")) == []


def test_one_key_published_twice_is_one() -> None:
    assert len(read_key_set(key_set(public_jwk("oidc"), public_jwk("oidc"))).keys) == 1


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "refused"),
        (b"<html>", "refused"),
        (b"[]", "refused"),
        (b"{}", "no array"),
        (b'{"keys":{}}', "no array"),
        (b'{"keys":[]}', "no usable key"),
        (b'{"keys":[],"keys":[]}', "twice"),
        (key_set(*[public_jwk("oidc")] * 101), "at most 100"),
        (key_set(public_jwk("oidc", use="enc")), "no usable key; keys.0.: use"),
        (json.dumps(public_jwk("oidc")).encode(), "no array"),
    ],
    ids=range(10),  # the keys differ in each process, and the names of cases must not
)
def test_a_set_without_a_usable_key_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(KeyUnusable, match=why):
        read_key_set(raw)


def test_a_fingerprint_tells_keys_kids_and_purposes_apart() -> None:
    jwks = [
        public_jwk("oidc"),
        public_jwk("spare"),
        public_jwk("oidc", kid="k2"),
        public_jwk("oidc", kid=None),
        public_jwk("oidc", alg="RS256"),
    ]
    assert len({read_key(jwk).fingerprint for jwk in jwks}) == len(jwks)
    assert read_key(jwks[0]).fingerprint == read_key(dict(jwks[0])).fingerprint


def test_a_key_shows_nothing_private() -> None:
    secret = str(private_key("oidc").as_dict(private=True)["d"])
    assert secret not in repr(read_key(public_jwk("oidc")))
