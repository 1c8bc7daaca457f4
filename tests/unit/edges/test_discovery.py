"""Fetching a key set from a server that means ill, or is merely broken."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import trustme

from gateway.edges.discovery import (
    FetchFailed,
    KeyEndpoint,
    is_fetchable,
    metadata_url,
    trust,
)
from tests.key_server import Answer, KeyServer, serving

METADATA = "/.well-known/openid-configuration"


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with serving() as server:
        yield server


async def fetch(
    issuer: str,
    jwks_url: str | None = None,
    ca_file: Path | None = None,
    *,
    discovery: Literal["oidc", "rfc8414"] = "oidc",
    timeout_seconds: float = 5.0,
) -> bytes:
    endpoint = KeyEndpoint(trust(ca_file), issuer, jwks_url, discovery, timeout_seconds)
    return await endpoint.fetch()


async def fails(issuer: str, ca_file: Path | None = None, timeout_seconds: float = 5.0) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetch(issuer, ca_file=ca_file, timeout_seconds=timeout_seconds)
    return str(caught.value)


async def test_keys_are_found_by_openid_discovery(server: KeyServer) -> None:
    assert json.loads(await fetch(server.url))["keys"]
    assert server.paths == [METADATA, "/jwks"]


async def test_keys_are_found_by_oauth_metadata(server: KeyServer) -> None:
    assert json.loads(await fetch(server.url, discovery="rfc8414"))["keys"]
    assert server.paths == ["/.well-known/oauth-authorization-server", "/jwks"]


async def test_a_configured_url_needs_no_discovery(server: KeyServer) -> None:
    assert json.loads(await fetch("https://idp.example.org", f"{server.url}/jwks"))["keys"]
    assert server.paths == ["/jwks"]


async def test_nothing_of_the_environment_is_sent(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no .netrc, no cookies: only what the request needs."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    server.answers[METADATA].headers = {"Set-Cookie": "a=b; Path=/"}
    await fetch(server.url)
    names = {line.split(":")[0].lower() for line in server.heads[1].split("\r\n")[1:] if line}
    assert names <= {"host", "accept", "accept-encoding", "connection", "user-agent"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status="404 Not Found"), "status 404"),
        (Answer(status="500 Internal Server Error", body=b'{"keys":[]}'), "status 500"),
        (Answer(status="206 Partial Content", body=b"{}"), "status 206"),
        (Answer(status="302 Found", headers={"Location": "/jwks"}), "status 302"),
        (
            Answer(status="307 Temporary Redirect", headers={"Location": "http://127.0.0.1:1/"}),
            "status 307",
        ),
        (Answer(b"x" * 262_145), "more than 262144 bytes"),
        (Answer(b"x", headers={"Content-Encoding": "gzip"}), "encoded"),
        (Answer(b"x", headers={"Content-Length": "5"}), "RemoteProtocolError"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_an_answer_that_is_no_document_is_a_failure(
    server: KeyServer, answer: Answer, why: str
) -> None:
    server.answers["/jwks"] = answer
    assert why in await fails(server.url)
    assert server.paths == [METADATA, "/jwks"], "and nothing else was asked"


async def test_the_largest_document_passes(server: KeyServer) -> None:
    server.answers["/jwks"] = Answer(b"x" * 262_144)
    assert len(await fetch(server.url)) == 262_144


@pytest.mark.parametrize("status", ["HTTP/9 what", "\x00\x01"])
async def test_an_answer_that_is_no_http_is_a_failure(server: KeyServer, status: str) -> None:
    server.answers["/jwks"] = Answer(status=f"{status}\r\nX: \x1b[2J")
    assert "RemoteProtocolError" in await fails(server.url)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"issuer": "https://attacker.example"}, "another issuer"),
        ({"issuer": "{url}/"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": None}, "jwks_uri"),
        ({"jwks_uri": 7}, "jwks_uri"),
        ({"jwks_uri": "http://idp.example.org/jwks"}, "jwks_uri"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
        ({"jwks_uri": "/jwks"}, "jwks_uri"),
    ],
    ids=str,
)
async def test_metadata_that_cannot_be_believed_is_a_failure(
    server: KeyServer, metadata: dict[str, object], why: str
) -> None:
    known = {"issuer": server.url, "jwks_uri": f"{server.url}/jwks", **metadata}
    server.answers[METADATA] = Answer(json.dumps(known).replace("{url}", server.url).encode())
    assert why in await fails(server.url)
    assert server.paths == [METADATA]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"issuer":"a","issuer":"b"}', b"\xff"])
async def test_metadata_that_is_no_object_is_a_failure(server: KeyServer, body: bytes) -> None:
    server.answers[METADATA] = Answer(body)
    assert METADATA in await fails(server.url)


async def test_a_slow_provider_is_given_up_after_the_timeout(server: KeyServer) -> None:
    """The whole fetch has one deadline, however the time is spread over its parts."""
    for path in (METADATA, "/jwks"):
        server.answers[path].pause_seconds = 0.2
    assert "no answer" in await fails(server.url, timeout_seconds=0.3)
    assert server.paths == [METADATA, "/jwks"]


async def test_nobody_at_the_address_is_a_failure() -> None:
    assert "ConnectError" in await fails("http://localhost:1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_a_provider_with_an_authority_of_its_own(
    authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    async with serving(tls=tls_of(authority)) as server:
        assert json.loads(await fetch(server.url, ca_file=ca_file))["keys"]


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    async with serving(tls=tls_of(authority)) as server:
        assert "certificate verify failed" in (await fails(server.url)).lower()
        assert server.paths == []
        await asyncio.sleep(0)


def test_a_missing_authority_file_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        trust(tmp_path / "missing.pem")


@pytest.mark.parametrize(
    ("issuer", "oidc", "rfc8414"),
    [
        (
            "https://idp.example.org",
            "https://idp.example.org/.well-known/openid-configuration",
            "https://idp.example.org/.well-known/oauth-authorization-server",
        ),
        (
            "https://idp.example.org/",
            "https://idp.example.org/.well-known/openid-configuration",
            "https://idp.example.org/.well-known/oauth-authorization-server",
        ),
        (
            "https://idp.example.org:8443/realms/hpc",
            "https://idp.example.org:8443/realms/hpc/.well-known/openid-configuration",
            "https://idp.example.org:8443/.well-known/oauth-authorization-server/realms/hpc",
        ),
    ],
)
def test_the_metadata_stands_where_each_specification_says(
    issuer: str, oidc: str, rfc8414: str
) -> None:
    assert metadata_url(issuer, "oidc") == oidc
    assert metadata_url(issuer, "rfc8414") == rfc8414


@pytest.mark.parametrize(
    ("url", "issuer", "expected"),
    [
        ("https://idp.example.org/jwks", "https://idp.example.org", True),
        ("https://keys.example.com/jwks?p=hpc", "https://idp.example.org", True),
        ("http://127.0.0.1:80/jwks", "http://localhost:80", True),
        ("http://[::1]:80/jwks", "http://localhost", True),
        ("http://idp.example.org/jwks", "https://idp.example.org", False),
        ("http://localhost/jwks", "https://idp.example.org", False),
        ("http://169.254.169.254/latest", "http://localhost", False),
        ("ftp://idp.example.org/jwks", "https://idp.example.org", False),
        ("https:///jwks", "https://idp.example.org", False),
        ("https://user:pw@idp.example.org/jwks", "https://idp.example.org", False),
        ("https://idp.example.org/jwks#x", "https://idp.example.org", False),
        ("https://[::1/jwks", "https://idp.example.org", False),
        ("https://idp.example.org/ü", "https://idp.example.org", False),
        ("https://idp.example.org;script-src/jwks", "https://idp.example.org", False),
        ("https://idp.example.org *;x/jwks", "https://idp.example.org", False),
        ("https://idp.example.org/jwks\r\nX: y", "https://idp.example.org", False),
        ("https://idp.example.org/jw ks", "https://idp.example.org", False),
        ("", "https://idp.example.org", False),
    ],
)
def test_keys_are_fetched_over_https_or_on_loopback(url: str, issuer: str, expected: bool) -> None:
    assert is_fetchable(url, issuer) is expected
