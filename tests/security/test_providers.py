"""Each page on a provider works as it stands: right tokens become the right user, look-alikes are refused."""

import asyncio
import re
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from gateway.app_doubts import find_doubts
from gateway.app_running import Application
from gateway.sign_in.flow import Flow
from gateway.sign_in.provider import Tokens
from tests.configurations import ends_in
from tests.provider_pages import (
    FOLDER,
    Claims,
    Page,
    changed,
    configuration_of,
    read_page,
    signed,
)
from tests.running import bearer, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering
from tests.sign_in_world import NAVIGATION, ORIGIN, SESSION

Entry = Mapping[str, Any]
CORPUS: list[Entry] = tomllib.loads((Path(__file__).parent / "corpus/providers.toml").read_text())[
    "provider"
]
PING = "/slurm/v0.0.42/ping"
WRONG = [(entry, wrong) for entry in CORPUS for wrong in entry["wrong"]]
SIGNING_IN = [entry for entry in CORPUS if "id-token" in read_page(entry["page"]).tokens]


class Signing:
    """Fills Provider: whoever comes with a code is the person of these claims."""

    def __init__(self, page: Page, claims: Claims, entry: Entry) -> None:
        self.page, self.claims, self.entry = page, claims, entry
        self.nonce = ""

    async def authorization_url(self, flow: Flow) -> str:
        self.nonce = flow.nonce
        return f"https://provider.example.org/authorize?state={flow.state}"

    async def names_itself(self) -> bool:
        return False

    async def redeem(self, code: str, verifier: str) -> Tokens:
        token = signed({**self.claims, "nonce": self.nonce}, self.entry)
        return Tokens("opaque", token)

    async def refresh(self, refresh_token: str) -> Tokens:
        raise AssertionError("nobody stays that long")

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        return self.page.tokens.get("userinfo", {})


@dataclass
class World:
    """A gateway with a page's configuration, in front of a slurmrestd that says who asked."""

    page: Page
    application: Application
    upstream: ScriptedUpstream
    audit: Path

    @property
    def client(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.application, client=("192.0.2.7", 40000))
        return httpx2.AsyncClient(transport=transport, base_url=ORIGIN)

    async def ask(self, token: str, path: str = PING) -> httpx2.Response:
        return await self.client.get(path, headers=bearer(token))

    async def sign_in(self, claims: Claims, entry: Entry) -> tuple[httpx2.AsyncClient, Any]:
        """A browser that has been to the provider and back, and the answer to its return."""
        signing_in = self.application.current.signing_in
        assert signing_in is not None
        ((name, client),) = signing_in.desk.clients.items()
        provider = Signing(self.page, claims, entry)
        signing_in.desk.clients = {name: replace(client, provider=provider)}
        browser = self.client
        browser.headers.update(NAVIGATION)
        begun = await browser.get("/login", params={"at": name})
        assert begun.status_code == 303, begun.text
        (state,) = parse_qs(urlsplit(begun.headers["location"]).query)["state"]
        back = {"state": state, "code": "good"}
        return browser, await browser.get(f"/login/callback/{name}", params=back)

    def right(self, name: str = "token") -> str:
        return signed(changed(self.page.tokens[name], {}), {})

    def forwarded(self) -> set[tuple[str, str]]:
        """What slurmrestd was asked, and for whom."""
        return {(one.path, one.user) for one in self.upstream.seen}

    async def record(self, answer: httpx2.Response) -> Mapping[str, Any]:
        """What the audit says of it; a read's last line may be on its way for a moment."""
        request_id = answer.headers["x-request-id"]
        while True:
            found = [one for one in ends_in(self.audit) if one["request_id"] == request_id]
            if found:
                return found[-1]
            await asyncio.sleep(0.01)


@asynccontextmanager
async def world_of(entry: Entry, folder: Path) -> AsyncIterator[World]:
    page = read_page(entry["page"])
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        config = configuration_of(page, folder, upstream.url)
        async with running(config) as application:
            yield World(page, application, upstream, folder / "audit.jsonl")


def name_of(value: Any) -> str:
    return str(value.get("page", value.get("name")))


@pytest.mark.parametrize("entry", CORPUS, ids=name_of)
async def test_the_token_of_the_page_becomes_the_user_that_the_page_names(
    entry: Entry, tmp_path: Path
) -> None:
    async with world_of(entry, tmp_path) as world:
        found = await world.ask(world.right(), entry.get("may", PING))
        record = await world.record(found)
        assert found.status_code == 200, (found.text, record)
        assert record["user"] == entry["user"]
        assert (entry.get("may", PING), entry["user"]) in world.forwarded()
    assert f"`{entry['user']}`" in world.page.text


@pytest.mark.parametrize(("entry", "wrong"), WRONG, ids=name_of)
async def test_a_look_alike_is_refused_for_its_own_reason(
    entry: Entry, wrong: Entry, tmp_path: Path
) -> None:
    """After the right one, so that nothing is refused because the page does not work."""
    async with world_of(entry, tmp_path) as world:
        assert (await world.ask(world.right())).status_code == 200
        claims = changed(world.page.tokens[wrong.get("from", "token")], wrong)
        if wrong.get("at") == "sign-in":
            browser, found = await world.sign_in(claims, wrong)
            assert not browser.cookies.get(SESSION)
        else:
            text = wrong.get("text") or signed(claims, wrong)
            found = await world.ask(text, wrong.get("path", PING))
            assert found.json()["code"] == wrong["code"]
        assert found.status_code >= 400
        record = await world.record(found)
        assert (record["code"], record["verdict"]) == (wrong["code"], "denied")
        assert record["note"].startswith(wrong["cause"]), record["note"]
    assert f"- {wrong['name']}: `{wrong['code']}`\n" in world.page.text


@pytest.mark.parametrize("entry", CORPUS, ids=name_of)
def test_a_page_lists_what_is_tried_and_nothing_else(entry: Entry) -> None:
    page = read_page(entry["page"])
    listed = re.findall(r"^- (.+): `[a-z-]+`$", page.text, re.MULTILINE)
    assert sorted(listed) == sorted(wrong["name"] for wrong in entry["wrong"])
    assert len(listed) >= 3


@pytest.mark.parametrize("entry", SIGNING_IN, ids=name_of)
async def test_whoever_signs_in_with_a_browser_is_the_same_user(
    entry: Entry, tmp_path: Path
) -> None:
    """By either door first: what is bound to the one must be the other's too."""
    async with world_of(entry, tmp_path) as world:
        claims = changed(world.page.tokens["id-token"], {})
        browser, found = await world.sign_in(claims, {})
        assert browser.cookies.get(SESSION), (found.text, await world.record(found))
        for path in (PING, entry["may"]):
            seen = await browser.get(path)
            assert seen.status_code == 200, (seen.text, await world.record(seen))
            assert (path, entry["user"]) in world.forwarded()
        by_session = await world.record(seen)
        found = await world.ask(world.right())
        by_token = await world.record(found)
        assert found.status_code == 200, by_token
        assert by_token["user"] == by_session["user"] == entry["user"]
        assert by_token["subject"] == by_session["subject"]


@pytest.mark.parametrize("entry", SIGNING_IN, ids=name_of)
async def test_the_uris_of_the_page_are_those_that_the_gateway_has(
    entry: Entry, tmp_path: Path
) -> None:
    async with world_of(entry, tmp_path) as world:
        signing_in = world.application.current.signing_in
        assert signing_in is not None
        ((name, provider),) = signing_in.providers.items()
        assert f"`{provider._registration.redirect_uri}`" in world.page.text
        assert f"`{signing_in.signed_out_url}`" in world.page.text or (
            signing_in.settings[name].logout == "none"
        )
        if "/login/backchannel/" in world.page.text:
            assert f"`{ORIGIN}/login/backchannel/{name}`" in world.page.text


@pytest.mark.parametrize("entry", CORPUS, ids=name_of)
async def test_command_lines_are_told_the_client_that_the_page_names(
    entry: Entry, tmp_path: Path
) -> None:
    async with world_of(entry, tmp_path) as world:
        found = (await world.client.get("/.well-known/oauth-protected-resource")).json()
    (issuer,) = tomllib.loads(world.page.toml)["authenticate"]["issuers"]
    assert found["authorization_servers"] == [issuer["issuer"]]
    told = [(one["client_id"], one["scopes"]) for one in found.get("command_line_clients", [])]
    wanted = [(issuer["cli_client_id"], issuer["cli_scopes"])] if "cli_client_id" in issuer else []
    assert told == wanted


@pytest.mark.parametrize("entry", CORPUS, ids=name_of)
def test_check_has_no_doubt_that_the_page_does_not_name(entry: Entry, tmp_path: Path) -> None:
    page = read_page(entry["page"])
    config = configuration_of(page, tmp_path, "http://127.0.0.1:6820")
    places = ("authenticate", "map_user.rules", "map_user.roles", "authorize", "sign_in")
    doubts = [one for one in find_doubts(config) if one.place.startswith(places)]
    assert [one.place.rpartition(".")[2] for one in doubts] == list(entry.get("doubts", []))


def test_every_page_is_tried_and_stands_in_the_index() -> None:
    pages = {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    assert pages == {entry["page"] for entry in CORPUS}
    index = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"\]\(([a-z-]+)\.md\)", index)) == pages


def test_the_tokens_of_the_pages_ended_long_ago_or_are_far_away() -> None:
    """They are brought to the present one by one; as they stand, they are good for nothing."""
    for entry in CORPUS:
        claims = read_page(entry["page"]).tokens["token"]
        assert not claims["iat"] - 86_400 < time.time() < claims["exp"]


def rows_of(table: int) -> Mapping[str, Mapping[str, str]]:
    """A table of the index: the cells by their headings, by the provider's name."""
    text = (FOLDER / "README.md").read_text()
    lines = [block for block in text.split("\n\n") if block.startswith("|")][table].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        re.sub(r"\[(.+)\]\(.+\)", r"\1", row[0]): dict(zip(cells[0], row, strict=True))
        for row in cells[2:]
    }


@pytest.mark.parametrize("entry", CORPUS, ids=name_of)
def test_the_index_says_what_the_page_says(entry: Entry) -> None:
    page = read_page(entry["page"])
    settings = tomllib.loads(page.toml)
    (issuer,) = settings["authenticate"]["issuers"]
    title = page.text.splitlines()[0].removeprefix("# ")
    signing = rows_of(1)[title]
    assert ("yes" in signing["RS256 by default"]) is ("algorithms" not in issuer)
    assert (signing["back-channel logout"] != "no") is ("/login/backchannel/" in page.text)
    clients = settings.get("sign_in", {}).get("clients", [])
    signs_out = any(client.get("logout") != "none" for client in clients)
    assert (signing["sign-out"] != "no") is signs_out
    assert (signing["device code"] == "yes") <= ("cli_client_id" in issuer)
    mapping = rows_of(0)[title]
    claims = set(re.findall(r"`(\w+)`", mapping["map by"]))
    used = {claim for rule in settings["map_user"]["rules"] for claim in rule.get("when", {})}
    used |= {rule["claim"] for rule in settings["map_user"]["rules"] if "claim" in rule}
    used |= set(issuer.get("required_claims", {})) | {issuer.get("subject_claim", "sub")}
    assert claims <= used
    token = page.tokens["token"]
    named = re.fullmatch(r"`(\w+)`", mapping["client"])
    assert named is None or named[1] in token
    assert ("aud" in token) is (mapping["`aud`"] != "none")
