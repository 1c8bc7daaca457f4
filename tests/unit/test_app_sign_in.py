"""[sign_in] of a configuration: what is built of it, and which mistakes are told before anything starts."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.app_sign_in import SigningIn
from gateway.config.load import validate
from gateway.config.problem import ConfigurationError
from gateway.edges.process_file import SESSIONS_FILE
from gateway.edges.provider_metadata import Endpoints
from gateway.edges.session_store import SqliteSessionStore
from gateway.sign_in.provider import ProviderDoubt
from lab.toml_text import merged
from tests.configurations import ISSUER, settings
from tests.running import built, gateway_of, parts_of, running
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


async def test_a_store_of_sessions_that_fails_is_told_and_leaves_the_gateway_ready(
    tmp_path: Path,
) -> None:
    """Calls with a token need no session."""
    async with running(gateway_of(tmp_path, with_sessions(tmp_path, {}))) as application:
        assert (await parts_of(application))["sessions"] == {"ok": True, "detail": ""}
        file = application.current.config.server.state_directory / SESSIONS_FILE
        file.rename(tmp_path / "away")
        parts = await parts_of(application)
        assert parts["ready"]
        assert not parts["sessions"]["ok"]
        assert f"{file} cannot be used" in parts["sessions"]["detail"]
        (tmp_path / "away").rename(file)
        assert (await parts_of(application))["sessions"]["ok"]


async def test_a_store_that_only_reads_is_told_too(tmp_path: Path) -> None:
    """As on a full disk: whoever has a session is let in, and nobody new can be."""
    async with running(gateway_of(tmp_path, with_sessions(tmp_path, {}))) as application:
        signing_in = application.current.signing_in
        assert signing_in is not None
        assert isinstance(signing_in.store, SqliteSessionStore)
        with closing(sqlite3.connect(signing_in.store._path, isolation_level=None)) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON used BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
            assert await signing_in.store.find("nobody") is None
            part = (await parts_of(application))["sessions"]
            assert not part["ok"]
            assert "full" in part["detail"]
            other.execute("DROP TRIGGER full")
            other.execute("BEGIN IMMEDIATE")
            assert (await parts_of(application))["sessions"]["detail"] == "no answer in 1 s"
        assert (await parts_of(application))["sessions"]["ok"]


BASE = {
    "encryption_key_file": "/k",
    "clients": [
        {"name": "campus", "issuer": ISSUER, "client_id": "web", "client_secret_file": "/s"}
    ],
}


def client(**changes: Any) -> dict[str, Any]:
    made = {**BASE["clients"][0], **changes}  # type: ignore[dict-item]  # a table
    return {"clients": [{name: value for name, value in made.items() if value is not None}]}


STEP_UP_1 = "authorize.step_up[1].acr_values"


def step_up(*rules: tuple[str, list[str]]) -> dict[str, Any]:
    rows = [{"operations": [name], "acr_values": values} for name, values in rules]
    for row in rows:
        if not row["acr_values"]:
            row["maximum_authentication_seconds"] = 60.0  # type: ignore[assignment]  # a table
    return {"authorize": {"step_up": rows}}


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
        (step_up(("SUBMIT", ["a", "b"]), ("POST /slurm/*/job/submit", ["c"])), STEP_UP_1),
        (
            step_up(("READ", ["a"]), ("SUBMIT", ["c"]), ("READ", ["b"])),
            "authorize.step_up[2].acr_values",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(changes: dict[str, Any], place: str) -> None:
    validate(merged(settings(), {"sign_in": BASE}))
    with pytest.raises(ConfigurationError) as caught:
        validate(merged(merged(settings(), {"sign_in": BASE}), changes))
    assert place in [problem.place for problem in caught.value.problems]


@pytest.mark.parametrize(
    "rules",
    [
        [("SUBMIT", ["a", "b"]), ("POST /slurm/*/job/submit", ["b", "c"])],
        [("SUBMIT", ["a"]), ("READ", ["b"])],
        [("SUBMIT", ["a"]), ("SUBMIT", [])],
        [("SUBMIT", []), ("SUBMIT", ["a"])],
    ],
)
def test_rules_that_somebody_can_meet_are_no_mistake(rules: list[tuple[str, list[str]]]) -> None:
    validate(merged(settings(), step_up(*rules)))


def test_cognito_alone_gives_no_acr_and_is_told_so() -> None:
    (issuer,) = settings()["authenticate"]["issuers"]
    cognito = {**issuer, "profile": "cognito", "audiences": None, "client_ids": ["web"]}
    cognito = {name: value for name, value in cognito.items() if value is not None}
    role = {"allow": ["READ"], "acr_values": ["a"]}
    wants = {"step_up": [{"operations": ["SUBMIT"], "acr_values": ["a"]}], "roles": {"user": role}}
    alone = {"authenticate": {"issuers": [cognito]}, "authorize": wants}
    with pytest.raises(ConfigurationError) as caught:
        validate(merged(settings(), alone))
    assert [problem.place for problem in caught.value.problems] == [
        "authorize.step_up[0].acr_values",
        "authorize.roles.user.acr_values",
    ]
    other = {**issuer, "issuer": "https://other.example.org"}
    beside = {"authenticate": {"issuers": [cognito, other]}, "authorize": wants}
    validate(merged(settings(), beside))
    age = {"step_up": [{"operations": ["SUBMIT"], "maximum_authentication_seconds": 60.0}]}
    validate(merged(settings(), {"authenticate": {"issuers": [cognito]}, "authorize": age}))
