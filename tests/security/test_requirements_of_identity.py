"""What the standards ask of who verifies tokens: challenges, keys, a provider that is away; see docs/security.md."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app_doubts import find_doubts
from gateway.config.load import validate
from gateway.denial import Denied
from gateway.edges.jwks import RemoteKeys
from gateway.model import Secret
from lab.toml_text import Settings
from tests.configurations import ISSUER, MINIMAL, settings, token_for
from tests.fakes import FakeClock, make_request
from tests.security.described_tokens import Entry, build_stage, build_token
from tests.security.recorded_gateway import DIAG, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import Provider, remote_keys
from tests.serving import served
from tests.tokens import (
    FakeKeys,
    base_claims,
    make_stage,
    make_token,
    public_jwk,
    trusted_issuer,
)

AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


# Holes of signing in, as far as there is anything of it here


@pytest.mark.parametrize(
    "target",
    ["/", "//evil.example/%2e%2e", "/login?next=//evil.example", "/logout?rd=https://evil.example", "/gateway/",
     "/gateway/errors", "/gateway//evil.example/", "/.well-known/oauth-protected-resource/", "/oauth2/start?rd=%2f%2fe",
     "/\\evil.example", "/slurm", "/slurm/v0.0.38/"],
)  # fmt: skip
@pytest.mark.parametrize("bearer", [None, "alice"])
def test_hole_17_nobody_is_ever_sent_elsewhere(site: Site, target: str, bearer: str | None) -> None:
    told = site.send(request(target, "X-Forwarded-Host: evil.example", bearer=bearer))
    assert not 300 <= int(told.split(b" ", 2)[1]) < 400
    assert b"\r\nlocation:" not in told.lower()
    assert b"\r\nrefresh:" not in told.lower()


@pytest.mark.parametrize("name", ["session", "__Host-session", "", "Authorization"])
def test_hole_20_no_cookie_is_read_or_set(site: Site, name: str) -> None:
    token = token_for("alice")
    answer = site.ask(DIAG, f"Cookie: {name}={token}", f"Cookie: {name}={token}", bearer=None)
    assert site.code(answer) == "token-missing"
    assert "set-cookie" not in answer.headers
    assert "set-cookie" not in site.ask(DIAG, f"Cookie: {name}=other").headers
    assert "cookie" not in site.only.names


# BEAR: RFC 6750


def test_bear_4_a_good_token_that_is_not_enough_is_insufficient_scope(site: Site) -> None:
    """There are no scopes here, so none is named. What does not exist gets the same challenge."""
    challenges = set()
    for target in ("/slurm/v0.0.40/reconfigure", "/slurmdb/v0.0.38/users", "/slurm/v0.0.38/secret"):
        answer = site.ask(target)
        assert (answer.status, site.code(answer)) == (403, "operation-unlisted")
        challenges.add(answer.headers["www-authenticate"])
    (challenge,) = challenges
    assert challenge.startswith("Bearer ")
    assert 'error="insufficient_scope"' in challenge
    assert "resource_metadata=" in challenge


def test_bear_11_there_is_one_challenge_in_one_line(site: Site) -> None:
    """slurmrestd's own challenge never stands beside it."""
    told = site.send(request(DIAG, bearer=None))
    assert told.lower().count(b"\r\nwww-authenticate: ") == 1
    assert told.count(b"Bearer ") == 1
    fields = b"WWW-Authenticate: Basic\r\nContent-Length: 2\r\nConnection: close\r\n"
    site.recorder.answer = b"HTTP/1.1 404 X\r\n" + fields + b"\r\n{}"
    assert "www-authenticate" not in site.ask().headers


@pytest.mark.parametrize("mode", ["navigate", "cors", "no-cors"])
def test_bear_12_a_browser_gets_the_challenge_like_everybody(site: Site, mode: str) -> None:
    fields = (f"Sec-Fetch-Mode: {mode}", "Sec-Fetch-Dest: document", "Accept: text/html,*/*;q=0.8")
    answer = site.ask(DIAG, *fields, bearer=None)
    assert (answer.status, site.code(answer)) == (401, "token-missing")
    assert "location" not in answer.headers


# JWT 17, AT 6


@pytest.mark.parametrize(
    ("kind", "described"),
    [
        ("353, 354: the key is for encryption", {"jwk": {"use": "enc"}}),
        ("355, 356: the key may only sign", {"jwk": {"key_ops": ["sign"]}}),
        ("367: padding behind the signature", {"template": "{h}.{p}.{s}=="}),
        ("370: padding behind the header", {"template": "{h}=.{p}.{s}"}),
        ("346, 347: the key's algorithm is another", {"jwk": {"alg": "RS384"}}),
        ("350, 351: the key's algorithm is unknown", {"jwk": {"alg": "RS1"}}),
        ("372: a character outside the alphabet", {"template": "{h}.{p}.{s}!"}),
        ("373: white space", {"template": "{h}.{p} .{s}"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_jwt_17_what_libraries_let_through_of_wycheproof_is_refused(
    kind: str, described: Entry
) -> None:
    """The cases that PyJWT or joserfc accept, or disagree about, as Wycheproof's JWS file numbers them."""
    good = build_stage({})
    assert (await good(make_request(bearer=Secret(build_token({}))))).subject
    with pytest.raises(Denied) as caught:
        await build_stage(described)(make_request(bearer=Secret(build_token(described))))
    assert caught.value.reason.code == "token-invalid"


def cognito() -> dict[str, Any]:
    issuer = {"issuer": ISSUER, "profile": "cognito", "client_ids": ["cli"]}
    return settings({"authenticate": {"issuers": [issuer]}})


def test_at_6_cognito_is_an_exception_that_is_asked_for_and_told_at_every_start() -> None:
    doubts = [doubt for doubt in find_doubts(validate(cognito())) if "Cognito" in doubt.what]
    assert [doubt.place for doubt in doubts] == ["authenticate.issuers[0].profile"]
    assert not [doubt for doubt in find_doubts(validate(MINIMAL)) if "Cognito" in doubt.what]


async def test_at_6_without_being_asked_for_a_token_without_audience_is_none() -> None:
    stage = make_stage(trusted_issuer("oidc", FakeKeys(public_jwk("oidc"))))
    claims = {name: value for name, value in base_claims("oidc").items() if name != "aud"}
    token = make_token({"alg": "RS256", "kid": "k1"}, {**claims, "token_use": "access"}, "oidc")
    with pytest.raises(Denied) as caught:
        await stage(make_request(bearer=Secret(token)))
    assert caught.value.reason.code == "token-invalid"


# DISC: OpenID Connect Discovery


@pytest.mark.parametrize(
    "changes",
    [{"aud": "other"}, {"aud": "other", "azp": "portal"},
     {"aud": ["portal", "other"]}, {"azp": "other"}, {"exp": 1}, {"iat": None}, {"iss": "x"}],
    ids=str,
)  # fmt: skip
async def test_disc_4_an_id_token_that_is_taken_is_taken_by_its_own_rules(
    changes: dict[str, Any],
) -> None:
    """Where ID tokens are wanted at all: iss, aud, azp, exp and iat."""
    name = "cognito-logins"
    stage = make_stage(trusted_issuer(name, FakeKeys(public_jwk(name))))
    good = {**base_claims(name), "token_use": "id", "aud": "portal"}
    good.pop("client_id", None)
    token = make_token({"alg": "RS256", "kid": "k1"}, good, name)
    assert (await stage(make_request(bearer=Secret(token)))).client_id == "portal"
    found = {key: value for key, value in {**good, **changes}.items() if value is not None}
    bad = make_token({"alg": "RS256", "kid": "k1"}, found, name)
    with pytest.raises(Denied) as caught:
        await stage(make_request(bearer=Secret(bad)))
    assert caught.value.reason.code == "token-invalid"


async def test_disc_7_a_new_key_verifies_at_once_and_a_removed_one_not_for_long() -> None:
    provider, clock = Provider(), FakeClock()
    keys = remote_keys(provider, clock)
    (old,) = await keys.keys_for("k1")
    provider.key = public_jwk("spare", kid="k2")
    clock.advance(11)
    assert await keys.keys_for("k2")
    assert not keys.holds(old.fingerprint)
    assert list(await keys.keys_for("k1")) == []
    await keys.close()


def test_disc_8_9_without_a_provider_it_starts_is_not_ready_and_says_503(tmp_path: Path) -> None:
    issuer = {"issuer": AWAY, "audiences": ["https://slurm.example.org"]}
    changes: Settings = {
        "authenticate": {"issuers": [issuer]},
        "map_user": {"rules": [{"issuer": AWAY, "claim": "uid"}]},
    }
    with served(tmp_path, changes) as gateway:
        assert gateway.operations("/healthz")[0] == 200
        assert gateway.operations("/readyz")[0] == 503
        status, fields, body = gateway.ask(DIAG, token_for("alice", iss=AWAY))
        assert (status, json.loads(body)["code"]) == (503, "keys-unavailable")
        assert int(fields["retry-after"]) > 0


async def test_disc_9_old_keys_serve_for_a_while_and_then_it_is_503() -> None:
    provider, clock = Provider(), FakeClock()
    keys = RemoteKeys(
        provider, issuer=ISSUER, key_age_seconds=600, stale_key_seconds=3600, now=clock
    )
    (key,) = await keys.keys_for("k1")
    provider.fails = True
    clock.advance(600 + 3599)
    assert await keys.keys_for("k1")
    assert keys.holds(key.fingerprint)
    clock.advance(2)
    assert not keys.holds(key.fingerprint)
    with pytest.raises(Denied) as caught:
        await keys.keys_for("k1")
    assert (caught.value.reason.status, caught.value.reason.code) == (503, "keys-unavailable")
    assert "Retry-After" in dict(caught.value.headers)
    await keys.close()


@pytest.mark.parametrize("fails", [False, True], ids=["answering", "failing"])
async def test_disc_10_a_thousand_strange_kids_at_once_share_one_fetch(fails: bool) -> None:
    provider, clock = Provider(), FakeClock()
    keys = remote_keys(provider, clock)
    await keys.keys_for("k1")
    provider.fails = fails
    clock.advance(30)
    before = provider.fetches
    asking = [keys.keys_for(f"strange-{number}") for number in range(1000)]
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.gather(*(keys.keys_for("strange-1") for _ in range(9)), return_exceptions=True)
    assert provider.fetches - before <= 1
    assert await keys.keys_for("k1")
    await keys.close()


# PRM: RFC 9728; PROB: RFC 9457


METADATA = "/.well-known/oauth-protected-resource"


def test_prm_3_the_metadata_need_no_token_and_say_how_long_they_keep(site: Site) -> None:
    """Pages of other origins may not read them: there is no CORS here."""
    answer = site.ask(METADATA, "Origin: https://evil.example", bearer=None)
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=300")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert json.loads(answer.body)["resource"] == "https://slurm.example.org"


@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8"])
def test_prob_4_a_browser_gets_a_problem_and_never_a_page(site: Site, accept: str) -> None:
    answer = site.ask("/slurm/%3Cb%3E", f"Accept: {accept}", bearer=None)
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"<" not in answer.body


@pytest.mark.parametrize("target", [DIAG, "/", METADATA, "/nowhere"])
def test_prob_4_an_answer_to_head_has_no_body(site: Site, target: str) -> None:
    told = site.send(request(target, "Connection: close", method="HEAD"))
    assert told.startswith(b"HTTP/1.1 4")
    assert told.partition(b"\r\n\r\n")[2] == b""
