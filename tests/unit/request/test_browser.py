"""What a browser's header fields say, and which requests with a session are heard."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import Browser
from gateway.request.browser import SESSION_COOKIE, check_origin, read_browser

CORPUS = tomllib.loads(
    (Path(__file__).parents[2] / "security/corpus/session_cookies.toml").read_text()
)
ORIGIN = "https://slurm.example.org"
ID = "A" * 43


@pytest.mark.parametrize("case", CORPUS["cookie"], ids=lambda case: str(case["why"]))
def test_a_session_cookie_comes_once_and_as_it_was_set(case: dict[str, Any]) -> None:
    field = str(case["field"]).replace("{name}", SESSION_COOKIE).replace("{id}", ID)
    field = field.replace("{long}", "x" * 1_000_000)
    if case["verdict"] == "refused":
        with pytest.raises(Denied) as caught:
            read_browser(field.encode(), b"", b"", b"")
        assert caught.value.reason is Reason.HEADER_MALFORMED
        assert ID not in caught.value.note + caught.value.detail
        return
    found = read_browser(field.encode(), b"", b"", b"")
    presented = found.session.reveal if found and found.session else None
    assert presented == (ID if case["verdict"] == "session" else None)


@given(st.binary(max_size=200))
def test_whatever_a_cookie_field_holds_it_is_a_session_id_or_none(field: bytes) -> None:
    try:
        found = read_browser(field + SESSION_COOKIE.encode() + b"=" + field, b"", b"", b"")
    except Denied:
        return
    assert found is None or (found.session is not None and len(found.session.reveal) == 43)


HEARD = [
    ("GET", "same-origin", ""),
    ("POST", "same-origin", ORIGIN),
    ("POST", "same-origin", "null"),
    ("DELETE", "same-origin", ""),
    ("GET", "none", ""),
    ("GET", "", ORIGIN),
    ("POST", "", ORIGIN),
]
NOT_HEARD = [
    ("GET", "cross-site", ""),
    ("GET", "same-site", ""),
    ("POST", "none", ""),
    ("DELETE", "none", ORIGIN),
    ("POST", "cross-site", ORIGIN),
    ("GET", "", ""),
    ("POST", "", ""),
    ("GET", "", "null"),
    ("GET", "same-origin", "https://evil.example"),
    ("POST", "same-origin", "https://slurm.example.org.evil.example"),
    ("POST", "", "http://slurm.example.org"),
    ("GET", "unknown", ORIGIN),
]


@pytest.mark.parametrize(("method", "site", "origin"), HEARD)
def test_a_request_of_our_own_pages_is_heard(method: str, site: str, origin: str) -> None:
    check_origin(Browser(None, site, False, origin), method, ORIGIN)


@pytest.mark.parametrize(("method", "site", "origin"), NOT_HEARD)
def test_a_request_that_another_site_may_have_caused_is_not(
    method: str, site: str, origin: str
) -> None:
    with pytest.raises(Denied) as caught:
        check_origin(Browser(None, site, False, origin), method, ORIGIN)
    assert caught.value.reason is Reason.CROSS_SITE_REQUEST
    assert origin not in caught.value.note or not origin


@pytest.mark.parametrize("navigates", [True, False])
def test_a_page_may_be_linked_to_from_anywhere_but_not_posted_to(navigates: bool) -> None:
    linked = Browser(None, "cross-site", navigates, "")
    if navigates:
        check_origin(linked, "GET", ORIGIN, is_page=True)
    else:
        with pytest.raises(Denied):
            check_origin(linked, "GET", ORIGIN, is_page=True)
    with pytest.raises(Denied):
        check_origin(linked, "POST", ORIGIN, is_page=True)
