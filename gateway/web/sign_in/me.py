"""/me: who I am here, what I may do, and my sessions, each with a button that ends it."""

import time

from fastapi import FastAPI, Request, Response

from gateway.denial import Denied, Reason
from gateway.sign_in.guard import Known
from gateway.sign_in.session import Session, SessionDoubt
from gateway.web.sign_in.asked import form_of, navigates, record_of
from gateway.web.sign_in.cookies import no_session_cookie
from gateway.web.sign_in.house import House, as_denied
from gateway.web.sign_in.pages import see_other, with_cookies

_NAMES = ("name", "preferred_username", "cognito:username", "username", "email")


def add_me(portal: FastAPI, house: House) -> None:
    """The routes."""

    @portal.get("/me")
    async def me(request: Request) -> Response:
        try:
            known = await house.visiting(request)
        except Denied as denied:
            if denied.reason is Reason.SESSION_ENDED and navigates(request):
                return see_other("/login")
            return house.refusal(request, denied)
        try:
            return await _show(house, known)
        except SessionDoubt as doubt:
            return house.refusal(request, *as_denied(doubt))

    @portal.post("/me/sessions/end")
    async def end(request: Request) -> Response:
        try:
            return await _end(house, request)
        except (SessionDoubt, Denied) as error:
            return house.refusal(request, *as_denied(error))


async def _show(house: House, known: Known) -> Response:
    identity, session = known.identity, known.session
    user, access, problem = None, None, ""
    try:
        user = await house.map_user(identity)
        access = house.access(user)
    except Denied as denied:
        problem = f"{denied.reason.sentence} ({denied.reason.code})"
    names = [identity.claims.get(name) for name in _NAMES]
    return house.pages(
        "me.html",
        name=next((name for name in names if isinstance(name, str) and name), identity.subject),
        identity=identity,
        user=user,
        access=access,
        problem=problem,
        current=session,
        sessions=await house.store.of_subject(session.issuer, session.subject),
        titles={name: client.title for name, client in house.desk.clients.items()},
        when=_when,
        token=house.forms.token(session.id_hash),
    )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


async def _end(house: House, request: Request) -> Response:
    """One of one's own sessions by its handle, or all of them."""
    known = await house.visiting(request, is_page=False)
    form = await form_of(request)
    house.forms.check(known.session.id_hash, form)
    mine = await house.store.of_subject(known.session.issuer, known.session.subject)
    wanted = [one for one in mine if form.get("which") in (one.handle, "all")]
    for session in wanted:
        await house.store.end(session.id_hash)
    house.guard.forget(session.id_hash for session in wanted)
    record_of(request).note = f"ended {_named(wanted)}"
    if known.session in wanted or any(one.id_hash == known.session.id_hash for one in wanted):
        return with_cookies(see_other("/login/signed-out"), [no_session_cookie()])
    return see_other("/me")


def _named(sessions: list[Session]) -> str:
    return ", ".join(f"session {one.handle}" for one in sessions) or "no session"
