"""The client of a provider on the wire: how it proves who it is, what it asks, and which answers it takes."""

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from gateway.edges.discovery import MAXIMUM_DOCUMENT_BYTES, trust
from gateway.edges.oidc_provider import OidcProvider, Registration
from gateway.edges.provider_metadata import ProviderMetadata
from gateway.edges.sign_in_secrets import client_secret_file, private_key_file
from gateway.sign_in.flow import new_flow
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused
from tests.key_server import Answer, KeyServer, serving

CALLBACK = "https://slurm.example.org/login/callback/campus"
SECRET = "s3cr:t/+ %"  # what form encoding is for
TOKENS = {"access_token": "at", "token_type": "Bearer", "id_token": "a.b.c", "refresh_token": "rt"}


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with serving() as made:
        describe(made)
        made.answers["/token"] = Answer(json.dumps(TOKENS).encode())
        yield made


def describe(server: KeyServer, **members: Any) -> None:
    endpoints: dict[str, Any] = {
        "authorization_endpoint": f"{server.url}/auth?tenant=1",
        "token_endpoint": f"{server.url}/token",
        "userinfo_endpoint": f"{server.url}/userinfo",
    }
    server.describe(**{**endpoints, **members})


def provider(server: KeyServer, **changes: Any) -> OidcProvider:
    registration: dict[str, Any] = {
        "client_id": "slurm gateway",
        "redirect_uri": CALLBACK,
        "authentication": "none",
        "secret": None,
        "key_id": "",
        "scopes": ("openid", "profile"),
        "resource": "",
        "asks_userinfo": True,
        **changes,
    }
    metadata_url = f"{server.url}/.well-known/openid-configuration"
    metadata = ProviderMetadata(trust(None), server.url, metadata_url)
    return OidcProvider(trust(None), metadata, Registration(**registration))


def written(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


async def test_the_browser_is_sent_with_pkce_state_and_nonce(server: KeyServer) -> None:
    flow = new_flow("campus", "/me", 0.0, acr_values=("2", "3"), maximum_age_seconds=60.0)
    url = await provider(server, resource="https://r").authorization_url(flow)
    query = parse_qs(urlsplit(url).query)
    challenge = query.pop("code_challenge")[0]
    assert len(challenge) == 43
    assert flow.verifier not in url
    assert query == {
        "tenant": ["1"],
        "response_type": ["code"],
        "client_id": ["slurm gateway"],
        "redirect_uri": [CALLBACK],
        "scope": ["openid profile"],
        "state": [flow.state],
        "nonce": [flow.nonce],
        "code_challenge_method": ["S256"],
        "acr_values": ["2 3"],
        "max_age": ["60"],
        "resource": ["https://r"],
    }


async def test_a_secret_goes_by_basic_with_both_parts_encoded(
    server: KeyServer, tmp_path: Path
) -> None:
    """RFC 6749 section 2.3.1."""
    secret = client_secret_file(written(tmp_path / "s", SECRET.encode() + b"\n"), None)
    made = provider(server, authentication="client_secret_basic", secret=secret)
    tokens = await made.redeem("the code", "the verifier")
    assert tokens.refresh_token == "rt"
    pair = base64.b64encode(b"slurm+gateway:s3cr%3At%2F%2B+%25").decode()
    assert f"authorization: basic {pair}".lower() in server.heads[-1].lower()
    form = dict(parse_qsl(server.bodies[-1]))
    assert form == {
        "grant_type": "authorization_code",
        "code": "the code",
        "code_verifier": "the verifier",
        "redirect_uri": CALLBACK,
    }
    assert SECRET not in repr(tokens) + repr(vars(made))


async def test_a_secret_goes_in_the_form_where_that_is_wanted(
    server: KeyServer, tmp_path: Path
) -> None:
    secret = client_secret_file(written(tmp_path / "s", SECRET.encode()), None)
    await provider(server, authentication="client_secret_post", secret=secret).refresh("old")
    form = dict(parse_qsl(server.bodies[-1]))
    assert form["client_secret"] == SECRET
    assert form["client_id"] == "slurm gateway"
    assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", "old")
    assert "authorization:" not in server.heads[-1].lower()


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "RS256"), ("ec", "ES256")])
async def test_a_private_key_signs_an_assertion(
    server: KeyServer, tmp_path: Path, kind: str, algorithm: str
) -> None:
    """RFC 7523 section 3."""
    key = RSAKey.generate_key(2048) if kind == "rsa" else ECKey.generate_key("P-256")
    file = private_key_file(written(tmp_path / "client.key", key.as_pem(private=True)), None)
    made = provider(server, authentication="private_key_jwt", secret=file, key_id="k7")
    await made.redeem("c", "v")
    form = dict(parse_qsl(server.bodies[-1]))
    kind_of_assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["client_assertion_type"] == kind_of_assertion
    assertion = jwt.decode(form["client_assertion"], key, algorithms=[algorithm])
    assert (assertion.header["alg"], assertion.header["kid"]) == (algorithm, "k7")
    claims = assertion.claims
    assert claims["iss"] == claims["sub"] == "slurm gateway"
    assert claims["aud"] == f"{server.url}/token"
    assert time.time() < claims["exp"] < time.time() + 3700
    assert claims["jti"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(b'{"error":"invalid_grant"}', "400 Bad Request"), "invalid_grant"),
        (Answer(b'{"error":"<script>"}', "400 Bad Request"), "unreadable_error"),
    ],
)
async def test_a_refusal_is_known_by_its_code(
    server: KeyServer, answer: Answer, error: str
) -> None:
    server.answers["/token"] = answer
    with pytest.raises(ProviderRefused) as caught:
        await provider(server).redeem("c", "v")
    assert caught.value.code == error


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>", "200 OK"),
        Answer(b"[]"),
        Answer(b"{}"),
        Answer(b'{"access_token":"x"}'),
        Answer(b'{"access_token":"x","token_type":"DPoP"}'),
        Answer(b'{"access_token":7,"token_type":"Bearer"}'),
        Answer(b"", "500 Oops"),
        Answer(b"", "302 Found", {"Location": "/elsewhere"}),
        Answer(b'{"access_token":"' + b"x" * MAXIMUM_DOCUMENT_BYTES + b'"}'),
        Answer(b"x", headers={"Content-Encoding": "gzip"}),
    ],
    ids=range(10),
)
async def test_an_answer_that_is_none_is_a_doubt(server: KeyServer, answer: Answer) -> None:
    server.answers["/token"] = answer
    with pytest.raises(ProviderDoubt):
        await provider(server).redeem("c", "v")
    assert "/elsewhere" not in server.paths


async def test_userinfo_is_asked_with_the_access_token_or_not_at_all(server: KeyServer) -> None:
    server.answers["/userinfo"] = Answer(b'{"sub":"alice"}')
    assert await provider(server).userinfo("at") == {"sub": "alice"}
    assert "authorization: bearer at" in server.heads[-1].lower()
    asked = len(server.paths)
    assert await provider(server, asks_userinfo=False).userinfo("at") == {}
    assert "/userinfo" not in server.paths[asked:]


@pytest.mark.parametrize("body", [b"a.b.c", b'{"sub":"a","sub":"b"}', b"[]"])
async def test_userinfo_with_no_single_reading_is_a_doubt(server: KeyServer, body: bytes) -> None:
    server.answers["/userinfo"] = Answer(body)
    with pytest.raises(ProviderDoubt):
        await provider(server).userinfo("at")


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "ftp://x"},
        {"end_session_endpoint": 7},
    ],
)
async def test_metadata_that_is_not_the_issuers_or_leads_elsewhere_is_not_used(
    server: KeyServer, members: dict[str, Any]
) -> None:
    describe(server, **members)
    with pytest.raises(ProviderDoubt):
        await provider(server).endpoints()


async def test_a_refresh_token_that_is_not_replaced_stays(server: KeyServer) -> None:
    server.answers["/token"] = Answer(json.dumps({**TOKENS, "refresh_token": None}).encode())
    assert (await provider(server).refresh("old")).refresh_token == "old"


async def test_a_refresh_asks_for_what_was_granted_and_not_for_what_was_asked(
    server: KeyServer,
) -> None:
    """Providers grant less than they are asked for, and refuse a refresh that asks for all of it again."""
    await provider(server, scopes=("openid", "offline_access")).refresh("old")
    form = dict(parse_qsl(server.bodies[-1]))
    assert set(form) == {"grant_type", "refresh_token", "client_id"}


async def test_a_secret_file_that_others_can_read_is_not_used(
    server: KeyServer, tmp_path: Path
) -> None:
    path = written(tmp_path / "s", b"secret")
    path.chmod(0o644)
    made = provider(
        server, authentication="client_secret_basic", secret=client_secret_file(path, None)
    )
    with pytest.raises(ProviderDoubt, match="mode 0644"):
        await made.redeem("c", "v")
    assert "/token" not in server.paths
