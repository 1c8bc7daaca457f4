"""What operations and roles ask of a sign-in, in the whole application with bearer tokens and sessions."""

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.app_running import Application
from gateway.sign_in.contents import Contents, seal_contents
from gateway.sign_in.session import Room, Session, hash_of
from tests.configurations import ISSUER, ends_in, token_for
from tests.running import bearer, client_of, gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering

PING, SUBMIT, RECONFIGURE = "ping", "job/submit", "reconfigure"
BASE = "/slurm/v0.0.42/"
ACR = "urn:example:second-factor"
STEP_UP = {
    "authorize": {
        "step_up": [
            {"operations": ["GET /slurm/*/ping"], "acr_values": [ACR, "other"]},
            {"operations": ["SUBMIT"], "maximum_authentication_seconds": 900.0},
        ]
    }
}
ROLE = {
    "authorize": {
        "roles": {
            "user": {"allow": ["READ"]},
            "admin": {"allow": ["ADMIN"], "acr_values": [ACR]},
        }
    },
    "map_user": {"roles": [{"issuer": ISSUER, "role": "admin", "when": {"uid": "bob"}}]},
}


def with_sessions(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """The same, and people can sign in."""
    for name, content in (("s.key", base64.b64encode(b"k" * 32)), ("c.secret", b"secret")):
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)
    client = {
        "name": "campus",
        "issuer": ISSUER,
        "client_id": "web",
        "client_secret_file": str(folder / "c.secret"),
    }
    sign_in = {"encryption_key_file": str(folder / "s.key"), "clients": [client]}
    return {**changes, "sign_in": sign_in}


async def session_of(application: Application, user: str, **claims: object) -> str:
    """Somebody signed in a moment ago."""
    signing_in = application.current.signing_in
    assert signing_in is not None
    session_id, now = signing_in.ids.new(), time.time()
    id_hash, subject = hash_of(session_id), f"subject-of-{user}"
    contents = Contents({"sub": subject, "uid": user, **claims})
    session = Session(id_hash, "campus", ISSUER, subject, "", now, now, now + 900, now, "", "", b"")
    session = seal_contents(contents, session, signing_in.contents)
    await signing_in.store.create(session, Room(5, 50))
    return session_id


def cookie(session_id: str, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    ours = {"Cookie": f"__Host-slurm-gateway-session={session_id}", "Sec-Fetch-Site": "same-origin"}
    return {**ours, **named}


async def world(
    tmp_path: Path, upstream: ScriptedUpstream, changes: dict[str, Any]
) -> dict[str, Any]:
    return with_sessions(tmp_path, {**changes, "forward": {"upstream": upstream.url}})


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 401),
        ({"acr": "1"}, 401),
        ({"acr": [ACR]}, 401),
        ({"acr": ACR.upper()}, 401),
        ({"acr": ACR}, 200),
        ({"acr": "other"}, 200),
    ],
)
async def test_an_operation_asks_for_acr_of_tokens_and_sessions_alike(
    tmp_path: Path, claims: dict[str, Any], status: int
) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, STEP_UP)
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            by_token = await client.get(BASE + PING, headers=bearer(token_for("alice", **claims)))
            session = await session_of(application, "alice", **claims)
            by_session = await client.get(BASE + PING, headers=cookie(session))
            assert [by_token.status_code, by_session.status_code] == [status, status]
            if status == 401:
                for one in (by_token, by_session):
                    assert one.json()["code"] == "insufficient-user-authentication"
                    assert one.json()["acr_values"] == f"{ACR} other"
                    challenge = one.headers["www-authenticate"]
                    assert 'error="insufficient_user_authentication"' in challenge
                    assert f'acr_values="{ACR} other"' in challenge
                    assert "max_age" not in challenge
                    assert "refresh" not in one.headers


@pytest.mark.parametrize(("age", "status"), [(None, 401), (60, 200), (901, 401), (-600, 401)])
async def test_an_operation_asks_for_a_recent_sign_in(
    tmp_path: Path, age: float | None, status: int
) -> None:
    claims = {} if age is None else {"auth_time": int(time.time() - age)}
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, STEP_UP)
        async with running(gateway_of(tmp_path, changes)) as application:
            got = await client_of(application).post(
                BASE + SUBMIT, headers=bearer(token_for("alice", **claims)), json={"job": {}}
            )
            assert got.status_code == status
            if status == 401:
                assert 'max_age="900"' in got.headers["www-authenticate"]
                assert got.json()["max_age"] == 900


async def test_a_role_that_asks_for_strength_is_offered_where_it_would_be_enough(
    tmp_path: Path,
) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, ROLE)
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)

            async def ask(user: str, path: str, **claims: Any) -> tuple[int, str]:
                got = await client.get(BASE + path, headers=bearer(token_for(user, **claims)))
                return got.status_code, got.json().get("code", "")

            asked = (401, "insufficient-user-authentication")
            assert await ask("bob", RECONFIGURE) == asked
            assert (await ask("bob", RECONFIGURE, acr=ACR))[0] == 200
            assert await ask("alice", RECONFIGURE, acr=ACR) == (403, "operation-unlisted")
            assert await ask("bob", SUBMIT) == (403, "operation-unlisted")
            assert (await ask("bob", PING))[0] == 200


async def test_only_a_browser_that_navigates_is_led_to_the_sign_in_and_back(
    tmp_path: Path,
) -> None:
    navigation = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html,*/*"}
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, STEP_UP)
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            session = await session_of(application, "alice")
            weak = await client.get(f"{BASE}{PING}?x=1", headers=cookie(session, **navigation))
            assert weak.status_code == 400, "the operation's own parameters come first"
            weak = await client.get(BASE + PING, headers=cookie(session, **navigation))
            assert weak.status_code == 401
            assert weak.headers["refresh"] == (
                "0; url=/login?to=%2Fslurm%2Fv0.0.42%2Fping"
                "&acr_values=urn%3Aexample%3Asecond-factor+other"
            )
            nobody = await client.get(BASE + PING, headers=navigation)
            assert nobody.headers["refresh"] == "0; url=/login?to=%2Fslurm%2Fv0.0.42%2Fping"
            for headers in ({}, {"Sec-Fetch-Mode": "cors"}, {"Accept": "text/html,*/*"}):
                assert "refresh" not in (await client.get(BASE + PING, headers=headers)).headers


async def test_a_navigation_with_a_session_never_changes_anything(tmp_path: Path) -> None:
    """slurmrestd has GETs that do; a link through the sign-in and back looks like our own."""
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, ROLE)
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            session = await session_of(application, "bob", acr=ACR)
            for headers in (
                {"Sec-Fetch-Mode": "navigate"},
                {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"},
                {"Sec-Fetch-Site": "none"},
            ):
                got = await client.get(BASE + RECONFIGURE, headers=cookie(session, **headers))
                assert got.json()["code"] == "cross-site-request"
            script = cookie(session, **{"Sec-Fetch-Mode": "cors"})
            assert (await client.get(BASE + RECONFIGURE, headers=script)).status_code == 200


async def test_a_session_and_a_token_at_once_are_refused_and_neither_goes_on(
    tmp_path: Path,
) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, {})
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            session = await session_of(application, "alice")
            for scheme in (bearer(token_for("alice")), {"Authorization": "Basic YTpi"}):
                got = await client.get(BASE + PING, headers={**cookie(session), **scheme})
                assert got.status_code == 400
                assert got.json()["code"] == "credentials-ambiguous"
            got = await client.get(BASE + PING, headers=cookie(session))
            assert got.status_code == 200
            (seen,) = upstream.seen
            assert session.encode() not in seen.head
            assert b"cookie" not in seen.head.lower()
    record = ends_in(tmp_path / "audit.jsonl")[-1]
    assert record["token_hash"] == f"session:{hash_of(session)[:16]}"
    assert (record["user"], record["client_id"]) == ("alice", "web")
    assert session not in (tmp_path / "audit.jsonl").read_text()


async def test_without_sign_in_a_cookie_is_nothing(tmp_path: Path) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(config) as application:
            client = client_of(application)
            both = {**cookie("x" * 43), **bearer(token_for("alice"))}
            assert (await client.get(BASE + PING, headers=both)).status_code == 200
            got = await client.get(BASE + PING, headers=cookie("x" * 43))
            assert got.json()["code"] == "token-missing"
            for path in ("/login", "/me", "/login/callback/campus"):
                assert (await client.get(path)).status_code == 404


async def test_a_restart_and_a_reload_sign_nobody_out(tmp_path: Path) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = await world(tmp_path, upstream, {})
        config = gateway_of(tmp_path, changes)
        async with running(config) as application:
            session = await session_of(application, "alice")
            application.adopt(await application.prepare(config))
            client = client_of(application)
            assert (await client.get(BASE + PING, headers=cookie(session))).status_code == 200
        async with running(config) as application:
            client = client_of(application)
            assert (await client.get(BASE + PING, headers=cookie(session))).status_code == 200


@pytest.mark.parametrize("name", ["s.key", "c.secret"])
async def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path, name: str) -> None:
    changes = with_sessions(tmp_path, {})
    (tmp_path / name).chmod(0o644)
    config = gateway_of(tmp_path, changes)
    if name == "s.key":
        with pytest.raises(Exception, match=r"s\.key has mode 0644"):
            async with running(config):
                pass
        return
    async with running(config) as application:
        signing_in = application.current.signing_in
        assert signing_in is not None
        with pytest.raises(Exception, match=r"c\.secret has mode 0644"):
            await signing_in.providers["campus"]._secret()
