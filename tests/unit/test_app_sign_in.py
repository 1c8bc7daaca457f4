"""[sign_in] of a configuration: what is built of it, and which mistakes are told before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from gateway.app_sign_in import SigningIn
from gateway.config.load import validate
from gateway.config.problem import ConfigurationError
from gateway.edges.provider_metadata import Endpoints
from gateway.sign_in.provider import ProviderDoubt
from lab.toml_text import merged
from tests.configurations import ISSUER, settings
from tests.running import built, gateway_of
from tests.unit.test_app_step_up import with_sessions

COGNITO = "https://pool.auth.eu-central-1.amazoncognito.com/oauth2/authorize"
PUBLIC = "https://slurm.example.org"


async def signing_in(folder: Path, **client: Any) -> SigningIn:
    changes = with_sessions(folder, {})
    changes["sign_in"]["clients"][0] |= client
    generation = await built(gateway_of(folder, changes))
    assert generation.signing_in is not None
    return generation.signing_in


@pytest.mark.parametrize(
    ("logout", "end_session", "expected"),
    [
        (
            "rp-initiated",
            "https://idp.example.org/out",
            ("https://idp.example.org/out", "get", {"client_id", "post_logout_redirect_uri"}),
        ),
        (
            "rp-initiated-post",
            "https://idp.example.org/out",
            (
                "https://idp.example.org/out",
                "post",
                {"client_id", "post_logout_redirect_uri", "id_token_hint"},
            ),
        ),
        (
            "cognito",
            "",
            (
                "https://pool.auth.eu-central-1.amazoncognito.com/logout",
                "get",
                {"client_id", "logout_uri"},
            ),
        ),
        ("rp-initiated", "", None),
        ("none", "https://idp.example.org/out", None),
    ],
)
async def test_signing_out_at_the_provider_has_its_form(
    tmp_path: Path, logout: str, end_session: str, expected: Any
) -> None:
    parts = await signing_in(tmp_path, logout=logout)
    endpoints = parts.providers["campus"]._endpoints
    endpoints._known = Endpoints(COGNITO, COGNITO, "", end_session, names_itself=False)
    endpoints._ask_at = float("inf")
    leave = await parts.leave("campus", "id.token")
    if expected is None:
        assert leave is None
        return
    assert leave is not None
    assert (leave.url, leave.method, set(leave.fields)) == expected
    target = leave.fields.get("logout_uri") or leave.fields["post_logout_redirect_uri"]
    assert target == f"{PUBLIC}/login/signed-out"


async def test_a_provider_that_was_never_reached_is_a_doubt(tmp_path: Path) -> None:
    parts = await signing_in(tmp_path, metadata_url="http://127.0.0.1:9/x")
    with pytest.raises(ProviderDoubt):
        await parts.providers["campus"].endpoints()


BASE = {
    "encryption_key_file": "/k",
    "clients": [
        {"name": "campus", "issuer": ISSUER, "client_id": "web", "client_secret_file": "/s"}
    ],
}


def client(**changes: Any) -> dict[str, Any]:
    made = {**BASE["clients"][0], **changes}  # type: ignore[dict-item]  # a table
    return {"clients": [{name: value for name, value in made.items() if value is not None}]}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"sign_in": client(issuer="https://other.example.org")}, "sign_in.clients[0].issuer"),
        ({"sign_in": {"encryption_key_file": None}}, "sign_in"),
        ({"sign_in": client(name="Campus")}, "sign_in.clients[0].name"),
        ({"sign_in": client(name="a/b")}, "sign_in.clients[0].name"),
        ({"sign_in": client(scopes=["profile"])}, "sign_in.clients[0]"),
        ({"sign_in": client(client_secret_file=None)}, "sign_in.clients[0]"),
        ({"sign_in": client(private_key_file="/p")}, "sign_in.clients[0]"),
        ({"sign_in": client(authentication="private_key_jwt")}, "sign_in.clients[0]"),
        ({"sign_in": {"idle_seconds": 50_000.0}}, "sign_in"),
        ({"sign_in": {"clients": [*client()["clients"], *client()["clients"]]}}, "sign_in"),
        ({"server": {"public_url": "http://localhost:8443"}}, "sign_in.clients"),
        ({"credential": {"provider": "passthrough", "key_file": None}}, "sign_in.clients"),
        (
            {"authorize": {"step_up": [{"operations": ["SUBMITS"], "acr_values": ["x"]}]}},
            "authorize.step_up[0].operations[0]",
        ),
        ({"authorize": {"step_up": [{"operations": ["SUBMIT"]}]}}, "authorize.step_up[0]"),
        (
            {"authorize": {"roles": {"user": {"acr_values": ['a"b']}}}},
            "authorize.roles.user.acr_values[0]",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(changes: dict[str, Any], place: str) -> None:
    validate(merged(settings(), {"sign_in": BASE}))
    with pytest.raises(ConfigurationError) as caught:
        validate(merged(merged(settings(), {"sign_in": BASE}), changes))
    assert place in [problem.place for problem in caught.value.problems]
