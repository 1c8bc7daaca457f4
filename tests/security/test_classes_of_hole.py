"""The classes of hole that gateways of this kind have had: one test or more for each, by its number.

docs/security.md says what closes each. Corpora and property tests go deeper; these hold the whole
program, from the client's bytes to those that slurmrestd gets.
"""

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest

from gateway.edges.discovery import FetchFailed, KeyEndpoint, trust
from gateway.edges.jwks import RemoteKeys
from tests.configurations import ISSUER, token_for
from tests.fakes import FakeClock
from tests.integration.marked_upstream import is_made_of
from tests.key_server import Answer, serving
from tests.security.recorded_gateway import (
    DIAG,
    JOBS,
    PICKY,
    SUBMIT,
    Site,
    recorded_gateway,
    request,
)
from tests.tokens import as_segment, b64, base_header, make_token, private_key, public_jwk

AUDIENCE = "https://slurm.example.org"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


def claims_of(
    changes: Mapping[str, object] = MappingProxyType({}), user: str = "alice"
) -> dict[str, Any]:
    now = int(time.time())
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"subject-of-{user}", "uid": user}
    found = {**base, "iat": now, "exp": now + 600, **changes}
    return {name: value for name, value in found.items() if value is not None}


def signed(
    header: Mapping[str, object] = MappingProxyType({}),
    claims: Mapping[str, object] = MappingProxyType({}),
    key: str = "rsa:issuer",
) -> str:
    """A good token of alice's, but for these members."""
    return make_token({**base_header(), **header}, claims_of(claims), key)


# 1 to 5: between the client's bytes and slurmrestd's


@pytest.mark.parametrize(
    "name", ["X-SLURM-USER-NAME", "X-SLURM-USER-TOKEN", "Forwarded", "X-Forwarded-User"]
)
@pytest.mark.parametrize("form", ["{0}", "{1}", "{2}", "{3}"], ids=["-", "_", "lower", "mixed"])
def test_hole_01_an_identity_header_of_the_client_never_arrives(
    site: Site, name: str, form: str
) -> None:
    shown = form.format(name, name.replace("-", "_"), name.lower(), name.replace("-", "_", 1))
    answer = site.ask(DIAG, f"{shown}: canary-root", f"{shown}: canary-root")
    assert answer.status == 200
    assert site.only.user == site.only.slurm_claims["sun"] == "alice"
    assert b"canary-root" not in site.only.head
    assert site.only.names.count("x-slurm-user-name") == 1
    assert site.only.names.count("x-slurm-user-token") == 1


@pytest.mark.parametrize(
    "field", ["X-SLURM-USER-NAME : root", " X-SLURM-USER-NAME: root", "X-SLURM\t: root"]
)
def test_hole_01_a_header_name_with_space_is_refused(site: Site, field: str) -> None:
    assert site.send(request(DIAG, field)).startswith(b"HTTP/1.1 400 ")
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    "listed",
    ["X-SLURM-USER-NAME", "x-slurm-user-token", "close, x-slurm-user-name, content-length, host"],
)
def test_hole_02_a_field_that_connection_lists_does_not_take_ours_away(
    site: Site, listed: str
) -> None:
    assert site.ask(DIAG, f"Connection: {listed}").status == 200
    assert site.only.user == site.only.slurm_claims["sun"] == "alice"
    assert site.only.names.count("host") == 1


@pytest.mark.parametrize(
    "target",
    [
        "/slurm/v0.0.38/../v0.0.38/diag", "/slurm/v0.0.38/./diag", "//slurm/v0.0.38/diag",
        "/slurm/v0.0.38//diag", "/slurm%2fv0.0.38/diag", "/slurm/v0.0.38%5cdiag", "/slurm/v0.0.38/diag%00",
        "/slurm/v0.0.38/%2e%2e/v0.0.38/diag", "/slurm/v0.0.38/%252e%252e/diag", "/slurm/v0.0.38/diag;a=b",
        "/slurm/v0.0.38/diag%23", "/slurm/v0.0.38/diag%3f", "/slurm/v0.0.38/diag#x", "/slurm/v0.0.38\\diag",
        "/slurm/v0.0.38/di%c0%aeag", "/SLURM/v0.0.38/diag", "/slurm/v0.0.38/diag.", "/slurm/v0.0.38/diagx",
        "http://evil.example.org/slurm/v0.0.38/diag", "@evil.example.org/diag", "*", "evil.example.org:443",
        "/slurm/v0.0.38/diag//", "/slurm/v0.0.38/job/1/../../node/x", "/slurm/v0.0.38/job/%31%2f..%2fdiag",
    ],
)  # fmt: skip
def test_hole_03_a_target_with_another_reading_is_sent_to_nobody(site: Site, target: str) -> None:
    for method in ("GET", "POST", "DELETE", "CONNECT", "OPTIONS"):
        status = int(site.send(request(target, method=method)).split(b" ", 2)[1])
        assert 400 <= status < 500
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 0x5", "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked", "Content-Length: 5\r\n X: y", "Transfer_Encoding: chunked\nX: y",
    ],
)  # fmt: skip
def test_hole_04_a_request_with_two_lengths_is_refused_and_nothing_behind_it_is_read(
    site: Site, framing: str
) -> None:
    hidden = request(DIAG, bearer="bob")
    outer = request(SUBMIT, "Content-Type: application/json", framing, method="POST")
    told = site.send(outer, b"0\r\n\r\n", hidden)
    assert told.startswith(b"HTTP/1.1 4")
    assert told.count(b"HTTP/1.1 ") == 1
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    "chunk",
    [b"5;" + b"x" * 300 + b"\r\nabcde\r\n", b"5\nabcde\r\n", b"0x5\r\nabcde\r\n", b"5\r\nabcdeXX",
     b"-5\r\nabcde\r\n", b"100000000000000005\r\nabcde\r\n", b"5 \r\nabcde\r\n", b"\r\n"],
)  # fmt: skip
def test_hole_04_a_chunk_with_two_readings_ends_the_connection(site: Site, chunk: bytes) -> None:
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    told = site.send(
        request(SUBMIT, *fields, method="POST"), chunk, b"0\r\n\r\n", request(DIAG, bearer="bob")
    )
    assert told.count(b"HTTP/1.1 ") == 1
    assert told.startswith(b"HTTP/1.1 4")
    assert site.recorder.sent == []


def test_hole_05_a_client_cut_in_its_answer_leaves_nothing_for_the_next_user(site: Site) -> None:
    for number in range(40):
        reader = site.connect()
        reader.send([request(JOBS, bearer="alice")])
        reader.answer(has_body=False)
        reader.close()
        user = f"user{number}"
        answer = site.ask(DIAG, bearer=user)
        assert is_made_of(user, answer.body)


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalice", b"stray"])
def test_hole_05_what_slurmrestd_sends_too_much_reaches_nobody(site: Site, extra: bytes) -> None:
    site.recorder.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + extra
    assert site.ask(DIAG, bearer="alice").body == b"{}"
    for _ in range(3):
        assert is_made_of("bob", site.ask(DIAG, bearer="bob").body)


@pytest.mark.parametrize(
    "fields", [("Connection: Upgrade", "Upgrade: websocket"), ("Upgrade: h2c",)]
)
def test_hole_05_no_connection_is_ever_switched(site: Site, fields: tuple[str, ...]) -> None:
    assert site.ask(DIAG, *fields).status == 200
    assert not {"upgrade", "connection"} & set(site.only.names)


# 6 to 16: tokens and keys


@pytest.mark.parametrize("form", ["pem", "pem-stripped", "der", "jwk", "n", "empty", "kid"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_hole_06_the_public_key_is_no_hmac_secret(site: Site, form: str, algorithm: str) -> None:
    key = private_key("rsa:issuer")
    jwk = key.as_dict(private=False)
    secret = {
        "pem": key.as_bytes("PEM", private=False),
        "pem-stripped": key.as_bytes("PEM", private=False).strip(),
        "der": key.as_bytes("DER", private=False),
        "jwk": json.dumps(jwk).encode(),
        "n": str(jwk["n"]).encode(),
        "empty": b"",
        "kid": b"k1",
    }[form]
    head = f"{as_segment({'alg': algorithm, 'kid': 'k1'})}.{as_segment(claims_of())}"
    mac = hmac.new(secret, head.encode(), hashlib.new(f"sha{algorithm[2:]}").name).digest()
    assert site.code(site.ask(bearer=f"{head}.{b64(mac)}")) == "token-invalid"


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, 0])
@pytest.mark.parametrize("signature", ["", "AA", "good"])
def test_hole_07_no_algorithm_is_no_signature(
    site: Site, algorithm: object, signature: str
) -> None:
    parts = signed({"alg": algorithm} if algorithm != "absent" else {}).split(".")
    token = ".".join([*parts[:2], parts[2] if signature == "good" else signature])
    assert site.code(site.ask(bearer=token)) in {"token-invalid", "authorization-malformed"}


def test_hole_08_a_key_in_the_header_is_ignored_and_no_address_in_it_is_asked(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        own = public_jwk("rsa:attacker")
        for header in ({"jwk": own}, {"jku": url}, {"x5u": url}, {"x5c": [own["n"]]}):
            assert site.code(site.ask(bearer=signed(header, key="rsa:attacker"))) == "token-invalid"
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "k1' OR '1'='1", "k1\x00", "k1\r\nX: y", "x" * 2000, "", ["k1"], None]
)
def test_hole_08_a_kid_is_compared_and_nothing_else(site: Site, kid: object) -> None:
    assert site.code(site.ask(bearer=signed({"kid": kid}))) == "token-invalid"


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["x"], [], "x", None, ["alg", "alg"]])
def test_hole_09_what_is_critical_and_unknown_is_refused(site: Site, crit: object) -> None:
    header = {"crit": crit, "b64": False, "x": 1}
    assert site.code(site.ask(bearer=signed(header))) == "token-invalid"


def test_hole_10_a_key_verifies_its_own_algorithm_only(site: Site) -> None:
    """The issuer takes both; its key says PS256."""
    for algorithm, status in (("RS256", 401), ("PS256", 200)):
        header = {"alg": algorithm, "kid": "k1"}
        token = make_token(header, claims_of({"iss": PICKY}, "aaa"), "rsa:picky", algorithm)
        assert site.ask(bearer=token).status == status
    assert site.only.user == "aaa"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None}, {"aud": ""}, {"aud": []}, {"aud": "https://slurm.example.org.evil.example"},
        {"aud": "https://slurm.example"}, {"aud": "https://slurm.example.org/"}, {"aud": [["x"]]},
        {"aud": "HTTPS://SLURM.EXAMPLE.ORG"}, {"aud": {"https://slurm.example.org": 1}}, {"aud": True},
        {"iss": ISSUER + "/"}, {"iss": ISSUER.upper()}, {"iss": ISSUER[:-1]}, {"iss": [ISSUER]},
        {"iss": ISSUER + ".evil.example"}, {"iss": None}, {"iss": ""}, {"iss": PICKY},
    ],
    ids=str,
)  # fmt: skip
def test_hole_11_an_audience_or_issuer_that_is_nearly_right_is_wrong(
    site: Site, claims: dict[str, object]
) -> None:
    assert site.code(site.ask(bearer=signed({}, claims))) == "token-invalid"


@pytest.mark.parametrize(
    "claims", [{"nonce": "n"}, {"at_hash": "h"}, {"c_hash": "h"}, {"token_use": "id"}], ids=str
)
def test_hole_12_an_id_token_is_no_access_token(site: Site, claims: dict[str, object]) -> None:
    assert site.code(site.ask(bearer=signed({}, claims))) == "token-invalid"


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", "id+jwt", 1])
def test_hole_12_a_token_of_another_type_is_no_access_token(site: Site, typ: object) -> None:
    assert site.code(site.ask(bearer=signed({"typ": typ}))) == "token-invalid"


async def test_hole_13_a_redirect_to_other_keys_is_not_followed() -> None:
    async with serving() as server:
        server.publish(public_jwk("rsa:attacker"), path="/elsewhere")
        server.answers["/jwks"] = Answer(
            b"", "302 Found", {"Location": f"{server.url}/elsewhere", "Content-Length": "0"}
        )
        server.describe()
        with pytest.raises(FetchFailed):
            await KeyEndpoint(trust(None), server.url, None, "oidc", 5.0).fetch()
        assert "/elsewhere" not in server.paths


class Provider:
    """Keys that a test takes away."""

    def __init__(self) -> None:
        self.fetches, self.fails, self.key = 0, False, public_jwk("oidc")

    async def fetch(self) -> bytes:
        self.fetches += 1
        if self.fails:
            raise FetchFailed("down")
        return json.dumps({"keys": [self.key]}).encode()


def remote_keys(provider: Provider, clock: FakeClock) -> RemoteKeys:
    return RemoteKeys(
        provider, issuer=ISSUER, key_age_seconds=600, stale_key_seconds=3600, now=clock
    )


async def test_hole_13_a_removed_key_stops_verifying_at_its_age() -> None:
    provider, clock = Provider(), FakeClock()
    keys = remote_keys(provider, clock)
    assert await keys.keys_for("k1")
    provider.key = public_jwk("spare", kid="k2")
    clock.advance(601)
    assert list(await keys.keys_for("k1")) == []
    await keys.close()


@pytest.mark.parametrize("fails", [False, True], ids=["answering", "failing"])
async def test_hole_14_ten_thousand_unknown_kids_are_few_fetches(fails: bool) -> None:
    provider, clock = Provider(), FakeClock()
    keys = remote_keys(provider, clock)
    await keys.keys_for("k1")
    provider.fails = fails
    for number in range(10_000):
        clock.advance(60 / 10_000)
        with suppress(Exception):
            await keys.keys_for(f"random-{number}")
    assert provider.fetches <= 8
    await keys.close()


@pytest.mark.parametrize(
    "token",
    ["a." * 9000 + "b", "x" * 20_000, "e30.e30.e30.e30.e30", "e30..e30.e30.e30", "e30.e30", "...."],
    ids=["segments", "size", "JWE", "JWE without a key", "two parts", "empty parts"],
)
def test_hole_15_what_has_not_three_parts_of_some_size_is_not_decoded(
    site: Site, token: str
) -> None:
    code = site.code(site.ask(bearer=token))
    assert code in {"token-invalid", "authorization-malformed", "headers-too-large"}


@pytest.mark.parametrize("header", [{"zip": "DEF"}, {"p2c": 10**9, "alg": "PBES2-HS256+A128KW"}])
def test_hole_15_nothing_is_inflated_or_derived(site: Site, header: dict[str, Any]) -> None:
    token = signed({}).split(".")
    head = as_segment({"alg": "RS256", "kid": "k1", **header})
    assert site.code(site.ask(bearer=f"{head}.{token[1]}.{token[2]}")) == "token-invalid"


def test_hole_16_a_remembered_verdict_is_for_the_very_same_token(site: Site) -> None:
    """Two users in turns on one connection; then a token that shares all but a bit of its signature."""
    client, tokens = site.connect(), {name: token_for(name) for name in ("alice", "bob")}
    for _ in range(20):
        for user, token in tokens.items():
            client.send([request(DIAG, bearer=token)])
            assert is_made_of(user, client.answer().body)
    client.close()
    assert [sent.user for sent in site.recorder.sent] == ["alice", "bob"] * 20
    site.forget()
    head, _, signature = tokens["alice"].rpartition(".")
    other = f"{head}.{'B' if signature[0] != 'B' else 'C'}{signature[1:]}"
    assert site.code(site.ask(bearer=other)) == "token-invalid"
    mixed = f"{tokens['bob'].rpartition('.')[0]}.{signature}"
    assert site.code(site.ask(bearer=mixed)) == "token-invalid"
