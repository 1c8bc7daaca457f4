"""The gateway's own pages: protected resource metadata, error pages, 404 as a problem document."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.denial import Reason
from gateway.web.portal import (
    METADATA_PATH,
    PublishedIssuer,
    build_portal,
    is_portal_path,
    protected_resource_metadata,
)

ISSUERS = [PublishedIssuer("https://idp.example.org")]


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    portal = build_portal("https://slurm.example.org", "lab", ISSUERS)
    transport = httpx2.ASGITransport(app=portal)
    async with httpx2.AsyncClient(
        transport=transport, base_url="https://slurm.example.org"
    ) as made:
        yield made


async def test_the_metadata_names_this_resource_and_its_issuers(client: httpx2.AsyncClient) -> None:
    """RFC 9728 section 2."""
    answer = await client.get(METADATA_PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "resource": "https://slurm.example.org",
        "resource_name": "Slurm cluster lab",
        "authorization_servers": ["https://idp.example.org"],
        "bearer_methods_supported": ["header"],
    }


def test_the_metadata_says_how_a_command_line_signs_in() -> None:
    """So that it asks its user for nothing but the gateway's URL."""
    issuers = [
        PublishedIssuer("https://a.example.org", "slurm-cli", ("openid", "slurm")),
        PublishedIssuer("https://b.example.org"),
    ]
    document = protected_resource_metadata("https://slurm.example.org", "lab", issuers)
    assert document["scopes_supported"] == ["openid", "slurm"]
    assert document["command_line_clients"] == [
        {
            "issuer": "https://a.example.org",
            "client_id": "slurm-cli",
            "scopes": ["openid", "slurm"],
        }
    ]


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.code)
async def test_every_code_has_a_page_that_says_what_to_do(
    client: httpx2.AsyncClient, reason: Reason
) -> None:
    answer = await client.get(f"/gateway/errors/{reason.code}")
    assert answer.status_code == 200
    assert answer.text.startswith(f"# {reason.code} ({reason.status})\n\n{reason.sentence}\n")
    for heading in ("## What it means", "## What to do", "## For administrators"):
        assert heading in answer.text


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/gateway/errors/..%2f..%2fproblems.py", "page-unknown"),
        ("GET", "/gateway/errors/nothing", "page-unknown"),
        ("GET", "/gateway/", "page-unknown"),
        ("GET", "/.well-known/openid-configuration", "page-unknown"),
        ("GET", METADATA_PATH + "/", "page-unknown"),
        ("POST", METADATA_PATH, "method-not-allowed"),
    ],
)
async def test_everything_else_is_a_problem_document(
    client: httpx2.AsyncClient, method: str, path: str, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.json()["code"] == code
    assert answer.headers.get("allow") == ("GET" if code == "method-not-allowed" else None)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", True),
        (b"/.well-known/x", True),
        (b"/gateway/errors/x", True),
        (b"/slurm/v0.0.45/jobs", False),
        (b"/gateway", False),
        (b"/gateway/", True),
        (b"/gateway/user", False),
        (b"/gateway/user/", True),
        (b"/gateway/use%72", True),
        (b"/gateway//user", True),
        (b"/gateway/slurm-token", False),
        (b"/gateway/slurm-token/x", True),
        (b"/login", True),
        (b"/login/callback/campus", True),
        (b"/me", True),
        (b"/me/sessions/end", True),
        (b"/logout", True),
        (b"/loginx", False),
        (b"/metrics", False),
        (b"/logout/x", False),
        (b"//", False),
        (b"/openapi/v3", False),
        (b"", False),
    ],
)
def test_only_the_gateways_own_paths_leave_the_pipeline(path: bytes, expected: bool) -> None:
    assert is_portal_path(path) is expected
