"""What the standards ask of a gateway, by the numbers of docs/security.md: bearer tokens, JWT, problems, metadata."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.edges.discovery import FetchFailed, KeyEndpoint, trust
from gateway.edges.jwks import RemoteKeys
from gateway.token.challenge import bearer_challenge
from gateway.token.keys import KeyUnusable, read_key_set
from tests.configurations import ISSUER, token_for
from tests.fakes import FakeClock
from tests.key_server import Answer, serving
from tests.security.raw_server import Answer as Response
from tests.security.recorded_gateway import DIAG, SUBMIT, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import claims_of, signed
from tests.tokens import b64, make_token, public_jwk, sign

AUDIENCE = "https://slurm.example.org"
INVALID = "token-invalid"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


def bearing(site: Site, *fields: str, target: str = DIAG) -> Response:
    """Exactly these fields, and no token but what they hold."""
    return site.ask(target, *fields, bearer=None)


def raw(header: bytes, payload: bytes) -> str:
    """Signed, whatever it is."""
    head = f"{b64(header)}.{b64(payload)}"
    return f"{head}.{b64(sign(head.encode(), 'RS256', 'rsa:issuer'))}"


GOOD_HEADER = b'{"alg":"RS256","kid":"k1"}'


# BEAR: RFC 6750


def test_bear_1_without_credentials_there_is_a_challenge_and_no_error(site: Site) -> None:
    answer = bearing(site)
    challenge = answer.headers["www-authenticate"]
    assert (answer.status, challenge.split()[0]) == (401, "Bearer")
    assert 'realm="slurm-gateway"' in challenge
    assert "resource_metadata=" in challenge
    assert "error" not in challenge


@pytest.mark.parametrize(
    "fields",
    [
        ("Authorization: Bearer a.b.c", "Authorization: Bearer a.b.c"), ("Authorization: Bearer a.b.c, Bearer d.e.f",),
        ("Authorization: Bearer",), ("Authorization: Bearer a b",), ("Authorization: Bearer  a.b.c",),
        ("Authorization: Bearer\ta.b.c",), ("Authorization: Bearer a%b",), ('Authorization: Bearer "a.b.c"',),
    ],
)  # fmt: skip
def test_bear_2_a_header_in_doubt_is_a_bad_request(site: Site, fields: tuple[str, ...]) -> None:
    assert bearing(site, *fields).status == 400
    assert site.recorder.sent == []


def test_bear_2_a_token_in_two_places_is_a_bad_request(site: Site) -> None:
    target = f"{DIAG}?access_token=x.y.z"
    assert site.code(site.ask(target)) == "credentials-ambiguous"


@pytest.mark.parametrize(
    "claims", [{"exp": 1}, {"aud": "x"}, {"iss": "https://x.example"}], ids=str
)
def test_bear_3_a_bad_token_is_invalid_token(site: Site, claims: dict[str, object]) -> None:
    answer = site.ask(bearer=signed({}, claims))
    assert (answer.status, site.code(answer)) == (401, INVALID)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_bear_5_the_scheme_has_no_case(site: Site, scheme: str) -> None:
    assert bearing(site, f"Authorization: {scheme} {token_for('alice')}").status == 200


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\r\nb", "\x7f", "\u00e4"])
def test_bear_6_a_challenge_takes_no_character_that_would_need_quoting(text: str) -> None:
    assert bearer_challenge("https://x", "invalid_token", "fine").count("error=") == 1
    with pytest.raises(ValueError, match="cannot carry"):
        bearer_challenge("https://x", "invalid_token", text)


def test_bear_7_a_token_in_the_query_is_refused_and_in_no_record(site: Site) -> None:
    token = token_for("alice")
    answer = bearing(site, target=f"{DIAG}?access_token={token}")
    assert site.code(answer) == "credentials-ambiguous"
    assert token not in (site.gateway.folder / "audit.jsonl").read_text()


def test_bear_8_nothing_that_a_token_got_is_stored(site: Site) -> None:
    for answer in (site.ask(), site.ask(bearer=signed({}, {"exp": 1})), site.ask("/slurm/x")):
        assert "no-store" in answer.headers["cache-control"]


def test_bear_9_an_unknown_key_and_a_bad_signature_read_alike(site: Site) -> None:
    shown = []
    for token in (signed({"kid": "other"}), signed({}, key="rsa:attacker")):
        told = json.loads(site.ask(bearer=token).body)
        shown.append({name: told[name] for name in ("title", "detail", "code", "status")})
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    "field",
    ["Proxy-Authorization: Bearer {0}", "Authorization: Basic YTpi", "Authorization: Negotiate YII=",
     "Authorization: DPoP {0}", "X-Authorization: Bearer {0}", "Cookie: token={0}"],
)  # fmt: skip
def test_bear_10_other_schemes_and_places_get_our_challenge(site: Site, field: str) -> None:
    answer = bearing(site, field.format(token_for("alice")))
    assert answer.status in (400, 401)
    assert answer.status == 400 or answer.headers["www-authenticate"].startswith("Bearer ")
    assert site.recorder.sent == []


# JWT: RFC 8725


@pytest.mark.parametrize(
    "algorithm", ["rs256", "RS256 ", "RS384", "PS256", "ES256", "EdDSA", "HS256", "none"]
)
def test_jwt_1_only_the_listed_algorithm_to_the_letter(site: Site, algorithm: str) -> None:
    assert site.code(site.ask(bearer=signed({"alg": algorithm}))) == INVALID


@pytest.mark.parametrize(
    "jwk",
    [public_jwk("rsa:1024"), public_jwk("rsa:issuer", e="Aw"), public_jwk("rsa:issuer", e="AQ")],
    ids=["1024 bits", "e=3", "e=1"],
)
def test_jwt_2_weak_keys_are_left_out(jwk: dict[str, Any]) -> None:
    with pytest.raises(KeyUnusable):
        read_key_set(json.dumps({"keys": [jwk]}).encode())


def test_jwt_3_nothing_of_an_unsigned_token_is_believed(site: Site) -> None:
    answer = site.ask(bearer=signed({}, {"sub": "canary-unsigned"}, key="rsa:attacker"))
    (record,) = (
        one for one in site.gateway.records if one["request_id"] == answer.headers["x-request-id"]
    )
    assert (record["subject"], record["user"]) in ((None, None), ("", ""))


def test_jwt_4_the_keys_of_one_issuer_verify_nothing_of_another(site: Site) -> None:
    """Both call their key k1."""
    token = make_token({"alg": "PS256", "kid": "k1"}, claims_of(), "rsa:picky", "PS256")
    assert site.code(site.ask(bearer=token)) == INVALID


@pytest.mark.parametrize("subject", [None, "", 7, ["x"], {}, True])
def test_jwt_5_the_subject_is_a_text(site: Site, subject: object) -> None:
    assert site.ask(bearer=signed({}, {"sub": subject})).status in (401, 403)
    assert site.recorder.sent == []


@pytest.mark.parametrize("audience", [None, "", [], {}, 1])
def test_jwt_6_there_is_an_audience(site: Site, audience: object) -> None:
    assert site.code(site.ask(bearer=signed({}, {"aud": audience}))) == INVALID


@pytest.mark.parametrize(
    "claims",
    [{"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"exp": 1e300}, {"exp": []}, {"exp": -1}, {"iat": None},
     {"iat": "0"}, {"iat": 99_999_999_999}, {"nbf": 99_999_999_999}, {"nbf": "x"}, {"iat": 1}],
    ids=str,
)  # fmt: skip
def test_jwt_7_times_are_numbers_that_make_sense(site: Site, claims: dict[str, object]) -> None:
    assert site.code(site.ask(bearer=signed({}, claims))) == INVALID


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_jwt_7_a_time_that_is_no_number_is_refused(site: Site, text: str) -> None:
    payload = json.dumps(claims_of({"exp": "@"})).replace('"@"', text).encode()
    assert site.code(site.ask(bearer=raw(GOOD_HEADER, payload))) == INVALID


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t"])
def test_jwt_8_where_a_key_is_said_to_be_is_not_read(site: Site, name: str) -> None:
    own = {"jwk": public_jwk("rsa:attacker")}.get(name, "https://attacker.example/keys")
    assert site.code(site.ask(bearer=signed({name: own}, key="rsa:attacker"))) == INVALID


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "", 1, None])
def test_jwt_9_a_type_of_token_is_what_it_says(site: Site, typ: object) -> None:
    assert site.code(site.ask(bearer=signed({"typ": typ}))) == INVALID


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "JWT", "AT+JWT"])
def test_jwt_9_access_tokens_may_say_so(site: Site, typ: str) -> None:
    assert site.ask(bearer=signed({"typ": typ})).status == 200


def test_jwt_10_a_token_for_signing_in_is_judged_by_other_rules(site: Site) -> None:
    assert site.code(site.ask(bearer=signed({}, {"nonce": "n", "at_hash": "h"}))) == INVALID


@pytest.mark.parametrize("crit", [[], ["x"], ["exp", "exp"], "exp", ["b64"]], ids=str)
def test_jwt_11_what_is_critical_is_known_or_the_token_refused(site: Site, crit: object) -> None:
    assert site.code(site.ask(bearer=signed({"crit": crit, "b64": False}))) == INVALID


@pytest.mark.parametrize("name", [b'"sub":"root",', b'"uid":"root",', b'"exp":1,'])
def test_jwt_12_a_claim_stands_once(site: Site, name: bytes) -> None:
    payload = json.dumps(claims_of()).encode()
    assert site.code(site.ask(bearer=raw(GOOD_HEADER, b"{" + name + payload[1:]))) == INVALID


@pytest.mark.parametrize(
    "header", [b'{"alg":"none","alg":"RS256","kid":"k1"}', b'{"alg":"RS256","kid":"x","kid":"k1"}']
)
def test_jwt_12_a_header_member_stands_once(site: Site, header: bytes) -> None:
    assert site.code(site.ask(bearer=raw(header, json.dumps(claims_of()).encode()))) == INVALID


@pytest.mark.parametrize(
    "claims",
    [{"sub": "a\x00b"}, {"sub": "a\nb"}, {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}],
    ids=["NUL", "line feed", "depth"],
)  # fmt: skip
def test_jwt_13_control_characters_and_depth_are_refused(
    site: Site, claims: dict[str, object]
) -> None:
    assert site.code(site.ask(bearer=signed({}, claims))) == INVALID


@pytest.mark.parametrize(
    "change",
    [lambda t: t + "=", lambda t: t.replace(".", "=.", 1), lambda t: t[:-1] + "+"],
    ids=["end", "header", "alphabet"],
)
def test_jwt_14_base64url_is_strict(site: Site, change: Any) -> None:
    answer = site.ask(bearer=change(token_for("alice")))
    assert site.code(answer) in (INVALID, "authorization-malformed")


@pytest.mark.parametrize(
    "cut",
    ["{0}.{1}", "{0}.{1}.{2}.", ".{0}.{1}.{2}", "{0}..{2}", "{0}.{1}.", "{0}.{1}.{2}.{2}.{2}"],
)
def test_jwt_15_a_token_has_three_parts(site: Site, cut: str) -> None:
    token = cut.format(*token_for("alice").split("."))
    assert site.code(site.ask(bearer=token)) in (INVALID, "authorization-malformed")


def test_jwt_16_length_comes_before_everything(site: Site) -> None:
    code = site.code(site.ask(bearer=signed({}, {"x": "y" * 16_000})))
    assert code == "authorization-malformed"


def _published(**members: object) -> bytes:
    return json.dumps({"keys": [public_jwk("rsa:issuer", **members)]}).encode()


@pytest.mark.parametrize(
    "members",
    [{"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": []}, {"alg": "RSA-OAEP"}, {"kty": "oct"}],
    ids=str,
)
def test_jwt_18_a_key_is_for_what_it_says(members: dict[str, object]) -> None:
    with pytest.raises(KeyUnusable):
        read_key_set(_published(**members))


# DISC: OpenID Connect Discovery, RFC 8414; PRM: RFC 9728


@pytest.mark.parametrize("issuer", ["{0}/", "https://other.example.org", "{0}#x", ""])
async def test_disc_1_metadata_are_of_the_issuer_that_was_asked(issuer: str) -> None:
    async with serving() as server:
        server.publish(public_jwk("oidc"))
        server.describe(issuer=issuer.format(server.url))
        with pytest.raises(FetchFailed):
            await KeyEndpoint(trust(None), server.url, None, "oidc", 5.0).fetch()
        assert "/jwks" not in server.paths


async def test_disc_2_only_the_configured_document_is_asked_for() -> None:
    async with serving() as server:
        server.answers.clear()
        with pytest.raises(FetchFailed):
            await KeyEndpoint(trust(None), server.url, None, "rfc8414", 5.0).fetch()
        assert server.paths == ["/.well-known/oauth-authorization-server"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"{}", "302 Found", {"Location": "/jwks2"}), Answer(b'{"keys":[' + b" " * 300_000 + b"]}"),
        Answer(b"[]"), Answer(b"<html>"), Answer(b"{}", pause_seconds=2),
    ],
    ids=["redirect", "size", "list", "page", "slow"],
)  # fmt: skip
async def test_disc_3_a_key_document_has_a_size_a_time_and_a_form(answer: Answer) -> None:
    async with serving() as server:
        server.describe()
        server.answers["/jwks"] = answer
        keys = RemoteKeys(
            KeyEndpoint(trust(None), server.url, None, "oidc", 0.5),
            issuer=server.url, key_age_seconds=600, stale_key_seconds=0, now=FakeClock(),
        )  # fmt: skip
        with pytest.raises(Exception, match="keys"):
            await keys.keys_for("k1")
        await keys.close()


def test_disc_6_without_a_kid_the_only_key_serves(site: Site) -> None:
    token = make_token({"alg": "RS256"}, claims_of(), "rsa:issuer")
    assert site.ask(bearer=token).status == 200


def test_prm_1_the_metadata_of_the_resource(site: Site) -> None:
    answer = bearing(site, target="/.well-known/oauth-protected-resource")
    told = json.loads(answer.body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert told["resource"] == AUDIENCE
    assert told["bearer_methods_supported"] == ["header"]
    assert ISSUER in told["authorization_servers"]
    assert all(value not in (None, [], "") for value in told.values())


def test_prm_2_a_challenge_says_where_the_metadata_are(site: Site) -> None:
    challenge = bearing(site).headers["www-authenticate"]
    assert f'resource_metadata="{AUDIENCE}/.well-known/oauth-protected-resource"' in challenge


# PROB: RFC 9457


REFUSALS = [
    request(DIAG, bearer=None), request("/slurm/nowhere"), request(f"{DIAG}?x=1"), request(DIAG, method="PUT"),
    request(DIAG, "Host: two"), request(SUBMIT, method="POST"), b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", REFUSALS, ids=range(len(REFUSALS)))
def test_prob_1_2_3_6_every_refusal_is_a_problem_that_can_be_found_again(
    site: Site, sent: bytes
) -> None:
    client = site.connect()
    client.send([sent])
    answer = client.answer()
    client.close()
    told = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert told["status"] == answer.status
    assert {"type", "title", "detail", "instance", "code"} <= told.keys()
    assert told["instance"] == answer.headers["x-request-id"]
    end = time.monotonic() + 5
    while not [one for one in site.gateway.records if one["request_id"] == told["instance"]]:
        assert time.monotonic() < end
    text = answer.body.decode()
    assert not [
        word
        for word in (site.recorder.url[7:], "Traceback", str(site.gateway.folder))
        if word in text
    ]


def test_prob_5_slurmrestds_own_errors_pass_untouched(site: Site) -> None:
    body = b'{"errors":[{"error_number":2017,"error":"Invalid job id specified"}]}'
    site.recorder.answer = (
        b"HTTP/1.1 404 X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    answer = site.ask()
    assert (answer.status, answer.body) == (404, body)
    assert answer.headers["content-type"] == "application/json"
