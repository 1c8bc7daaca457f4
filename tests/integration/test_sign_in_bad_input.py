"""What people, attackers and confused browsers send, at the whole gateway: a page or problem, and nobody signed in."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab.identity_provider.provider import WEB_NAME
from lab.slurm import SlurmRelease
from tests.integration.browsing import HttpBrowser, Page
from tests.integration.page_tour import AWAY, two_issuers
from tests.integration.test_sign_in import SESSION, Site, make_site

FROM_ELSEWHERE = {"sec-fetch-site": "cross-site"}
MEGABYTE = "x" * 1_000_000


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, one_slurm_release: SlurmRelease
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bad-input")
    yield from make_site(folder, one_slurm_release, change=two_issuers)


def answer_of(site: Site, browser: HttpBrowser, user: str = "alice") -> str:
    """The URL that the provider sends the browser back to, not gone to yet."""
    login = browser.open(f"/login?at={WEB_NAME}")
    stopped = browser.open(login.url, {"login": user}, stop_at=site.gateway.url)
    assert stopped.status == 303
    return browser.hops[-1]


def with_query(url: str, **changes: str | None) -> str:
    """Another answer, which differs in this."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query)) | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urllib.parse.urlencode(kept)).geturl()


def note_of(site: Site, page: Page) -> str:
    found = re.search(r"request ([0-9a-f]{32})", page.body)
    assert found, page.body
    record = site.gateway.audit_record(found[1])
    assert record["user"] == record["subject"] == ""
    return str(record["note"])


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"code": "wrong"}, "the token endpoint says invalid_grant"),
        ({"code": None}, "neither code nor error"),
        ({"state": "another"}, "no cookie for this state"),
        ({"state": None}, "no cookie for this state"),
        ({"iss": "https://partner.example.org"}, "iss is another issuer"),
        ({"iss": None}, "iss is missing"),
        ({"error": "access_denied"}, "the provider says access_denied"),
        ({"error": "server_error", "code": None}, "the provider says server_error"),
        ({"error": "<script>alert(1)</script>"}, "the provider says <script>alert(1)</script>"),
        ({"code": "x" * 5000}, "a parameter is too long or not printable"),
    ],
)
def test_an_answer_that_is_changed_on_its_way_signs_nobody_in(
    site: Site, changes: dict[str, str | None], note: str
) -> None:
    browser = site.browser()
    callback = answer_of(site, browser)
    page = browser.open(with_query(callback, **changes), headers=FROM_ELSEWHERE)
    assert page.status == 400
    assert "sign-in-refused" in page.body
    assert "<script" not in page.body
    assert note_of(site, page) == note
    assert browser.cookie(SESSION) is None
    assert browser.call(site.jobs).status == 401


def test_an_answer_of_one_issuer_at_the_callback_of_another_is_a_mix_up(site: Site) -> None:
    browser = site.browser()
    callback = answer_of(site, browser)
    other = callback.replace(f"/callback/{WEB_NAME}", f"/callback/{AWAY}")
    page = browser.open(other, headers=FROM_ELSEWHERE)
    assert page.status == 400
    assert note_of(site, page) == "begun at another issuer"
    assert browser.cookie(SESSION) is None


def test_a_code_of_somebody_elses_sign_in_is_of_no_use_in_mine(site: Site) -> None:
    """Injected: the provider knows it, and PKCE and nonce are of another browser."""
    victim, attacker = site.browser(), site.browser()
    stolen = urllib.parse.parse_qs(urllib.parse.urlsplit(answer_of(site, victim)).query)["code"][0]
    mine = answer_of(site, attacker, "bob")
    page = attacker.open(with_query(mine, code=stolen), headers=FROM_ELSEWHERE)
    assert page.status == 400
    assert note_of(site, page) == "the token endpoint says invalid_grant"
    assert attacker.cookie(SESSION) is None


def answer_while_sending(site: Site, head: bytes) -> bytes:
    """Piece by piece until there is an answer, which the end of the connection would overtake otherwise."""
    connection = site.gateway.connect()
    connection.connect()
    connection.sock.settimeout(0.1)
    try:
        for at in range(0, len(head), 16_384):
            connection.sock.sendall(head[at : at + 16_384])
            with suppress(TimeoutError):
                return bytes(connection.sock.recv(65_536))
    finally:
        connection.close()
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize("path", ["/me", "/login", "/login/callback/lab?state=x", "jobs"])
@pytest.mark.parametrize("name", [SESSION, "another"])
def test_a_megabyte_of_cookies_is_refused_before_anything_is_read_of_it(
    site: Site, path: str, name: str
) -> None:
    browser = site.browser()
    browser.sign_in("alice", f"/login?at={WEB_NAME}")
    session = browser.cookie(SESSION)
    assert session is not None
    target = site.jobs if path == "jobs" else path
    cookies = f"{SESSION}={session.value}; {name}={MEGABYTE}"
    head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"
    answer = answer_while_sending(site, head.encode())
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers-too-large"' in answer
    assert b"xxx" not in answer
    assert browser.call(site.jobs).status == 200, "and whoever has a session keeps it"


@pytest.mark.parametrize(
    "cookie",
    [
        f"{SESSION}={{id}}; {SESSION}={{id}}",
        f"{SESSION}={{id}}; {SESSION}={'A' * 43}",
        f"{SESSION}={{id}}x",
        f'{SESSION}="{{id}}"',
        f"{SESSION}=",
        f"{SESSION}={{id}}; a={'x' * 17_000}",
    ],
)
def test_a_cookie_that_is_doubled_or_tampered_with_is_nobodys(site: Site, cookie: str) -> None:
    browser = site.browser()
    browser.sign_in("alice", f"/login?at={WEB_NAME}")
    session = browser.cookie(SESSION)
    assert session is not None
    field = {"Cookie": cookie.replace("{id}", str(session.value)), "Sec-Fetch-Site": "same-origin"}
    answer = site.gateway.ask("GET", site.jobs, headers=field)
    assert (answer.status, answer.json()["code"]) == (400, "header-malformed")
    page = site.gateway.ask("GET", "/me", headers={**field, "Accept": "text/html"})
    assert page.status == 400
    assert b"alice" not in page.body
    assert str(session.value).encode() not in answer.body + page.body


@pytest.mark.parametrize("place", [0, 20, 42])
def test_a_cookie_with_another_character_is_an_ended_session(site: Site, place: int) -> None:
    browser = site.browser()
    browser.sign_in("alice", f"/login?at={WEB_NAME}")
    session = browser.cookie(SESSION)
    assert session is not None
    good = str(session.value)
    bad = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
    field = {"Cookie": f"{SESSION}={bad}", "Sec-Fetch-Site": "same-origin"}
    answer = site.gateway.ask("GET", site.jobs, headers=field)
    assert (answer.status, answer.json()["code"]) == (401, "session-ended")
    assert json.loads(browser.call(site.jobs).body)["jobs"] is not None


def test_nothing_that_was_sent_and_no_secret_is_in_what_the_gateway_wrote(site: Site) -> None:
    browser = site.browser()
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer_of(site, browser)).query)["code"][0]
    browser.open(browser.hops[-1], headers=FROM_ELSEWHERE)
    session = browser.cookie(SESSION)
    assert session is not None
    written = site.gateway.audit_file.read_text() + site.gateway.log.read_text()
    for secret in (code, str(session.value)):
        assert secret not in written
