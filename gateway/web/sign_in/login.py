"""/login and the callbacks: a browser -> the provider and back -> a session, and on to where it wanted to go."""

import re
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response

from gateway.denial import Denied, Reason
from gateway.sign_in.desk import AGAIN, Answered, Client, SignInRefused
from gateway.sign_in.flow import Flow, FlowRefused, open_flow, seal_flow
from gateway.sign_in.provider import ProviderDoubt
from gateway.sign_in.session import SessionDoubt, hash_of
from gateway.sign_in.targets import local_target
from gateway.stages.authenticate import Attempt
from gateway.web.sign_in.asked import (
    browser_of,
    field,
    navigates,
    query_of,
    record_of,
    visiting_browser,
    visitor_of,
)
from gateway.web.sign_in.cookies import (
    flow_cookie,
    no_flow_cookie,
    read_flow_cookie,
    session_cookie,
    surplus_flow_cookies,
)
from gateway.web.sign_in.house import House, as_denied
from gateway.web.sign_in.pages import see_other, with_cookies

_FAILURES = (SignInRefused, ProviderDoubt, SessionDoubt, Denied)
_MAXIMUM_TEXT = 4096
_ACR_VALUES = re.compile(r"[!#-\[\]-~]{1,255}(?: [!#-\[\]-~]{1,255}){0,7}")
_STEP_UP = ("acr_values", "max_age")
_AGE = re.compile(r"[0-9]{1,9}")


def add_login(portal: FastAPI, house: House) -> None:
    """The routes."""

    @portal.get("/login")
    async def login(request: Request) -> Response:
        try:
            return await _login(house, request)
        except _FAILURES as error:
            return house.refusal(request, *as_denied(error))

    @portal.get("/login/callback/{name}")  # noqa: FAST003 (as in portal.py)
    async def callback(request: Request) -> Response:
        try:
            return await _callback(house, request, request.path_params["name"])
        except _FAILURES as error:
            return house.refusal(request, *as_denied(error))


async def _login(house: House, request: Request) -> Response:
    """The choice where there is one; only a browser is sent on."""
    query, clients = query_of(request), house.desk.clients
    target, wanted = local_target(query.get("to")), _wanted(query)
    name = query.get("at", "")
    if wanted and not name:
        name = await _current_client(house, request)
    client = clients.get(name) or (next(iter(clients.values())) if len(clients) == 1 else None)
    if client is None or not navigates(request):
        asked = {name: value for name, value in query.items() if name in _STEP_UP}
        choices = [(one.title, _link(one.name, target, asked)) for one in clients.values()]
        return house.pages("choose.html", choices=choices)
    return await begin(house, request, client, target, **wanted)


def _link(name: str, target: str, asked: dict[str, str]) -> str:
    return f"/login?{urlencode({'at': name, 'to': target, **asked})}"


def _wanted(query: dict[str, str]) -> dict[str, Any]:
    """What a step-up asks the provider for. Whatever it is, the provider's answer is held to it."""
    wanted: dict[str, Any] = {}
    acr_values, age = query.get("acr_values", ""), query.get("max_age", "")
    if acr_values:
        if not _ACR_VALUES.fullmatch(acr_values):
            raise SignInRefused("acr_values cannot be read", AGAIN)
        wanted["acr_values"] = tuple(acr_values.split(" "))
    if age:
        if not _AGE.fullmatch(age):
            raise SignInRefused("max_age cannot be read", AGAIN)
        wanted["maximum_age_seconds"] = float(age)
    return wanted


async def _current_client(house: House, request: Request) -> str:
    """A step-up is of the session that there is, so it goes to the issuer of that one."""
    try:
        known = await house.guard.find(visiting_browser(request), request.method, is_page=True)
    except Denied:
        return ""
    return known.session.client


async def begin(
    house: House, request: Request, client: Client, target: str, **wanted: Any
) -> Response:
    """Send the browser to the provider, with the cookie that binds the answer to it."""
    flow, url = await house.desk.begin(client, target, **wanted)
    record_of(request).note = f"sign-in at {client.name} begun"
    cookie = flow_cookie(flow.state, seal_flow(flow, house.flows))
    return with_cookies(see_other(url), [*surplus_flow_cookies(field(request, b"cookie")), cookie])


async def _callback(house: House, request: Request, name: str) -> Response:
    client = house.desk.clients.get(name)
    if client is None:
        raise Denied(Reason.PAGE_UNKNOWN)
    answered = _answered(query_of(request))
    flow = _flow(house, request, name, answered.state)
    try:
        response = await _counted(house, request, flow, answered)
    except _FAILURES as error:
        response = house.refusal(request, *as_denied(error))
    return with_cookies(response, [no_flow_cookie(flow.state)])


def _answered(query: dict[str, str]) -> Answered:
    values = [query.get(name, "") for name in ("state", "code", "error", "iss")]
    if any(len(value) > _MAXIMUM_TEXT or not value.isprintable() for value in values):
        raise SignInRefused("a parameter is too long or not printable", AGAIN)
    return Answered(*values)


def _flow(house: House, request: Request, name: str, state: str) -> Flow:
    """Only the browser that began may end it: its cookie holds what the answer has to fit."""
    sealed = read_flow_cookie(field(request, b"cookie"), state)
    if not state or not sealed:
        raise SignInRefused("no cookie for this state", AGAIN)
    try:
        return open_flow(sealed, state, name, house.desk.now(), house.flows)
    except FlowRefused as refused:
        raise SignInRefused(str(refused), AGAIN) from None


async def _counted(house: House, request: Request, flow: Flow, answered: Answered) -> Response:
    """Bad answers cost as much as good ones. They count for the address alone: people may share one."""
    address, subject = record_of(request).client_address, f"sign-in {flow.state}"
    attempt = Attempt(address, subject, b"", claims_to_be_expired=False)
    await house.failures.check(attempt)
    try:
        return await _finish(house, request, flow, answered)
    except SignInRefused:
        await house.failures.count(attempt, is_expired=False)
        raise


async def _finish(house: House, request: Request, flow: Flow, answered: Answered) -> Response:
    """A new id at every sign-in; whatever session the browser had before is over.

    The way on is a page and no redirect: what follows is then asked for by a page of ours, and not by the
    provider's, as far as the browser can tell (Fetch Metadata counts the whole chain of redirects).
    """
    before = browser_of(request).session
    signed_in = await house.desk.finish(flow, answered, visitor_of(request))
    ended = list(signed_in.ended)
    if before is not None:
        id_hash = hash_of(before.reveal)
        await house.store.end(id_hash)
        ended.append(id_hash)
    house.guard.forget(ended)
    record = record_of(request)
    record.identity, record.note = signed_in.identity, f"signed in at {flow.client}"
    page = house.pages("signed_in.html", target=flow.target)
    return with_cookies(page, [session_cookie(signed_in.session_id)])
