"""/logout: a session -> none, here and, if one wants, at the provider."""

from fastapi import FastAPI, Request, Response

from gateway.denial import Denied, Reason
from gateway.sign_in.contents import open_contents
from gateway.sign_in.guard import Known
from gateway.sign_in.provider import ProviderDoubt
from gateway.sign_in.sealing import Unsealable
from gateway.sign_in.session import SessionDoubt
from gateway.web.sign_in.asked import browser_of, form_of, record_of
from gateway.web.sign_in.cookies import no_session_cookie
from gateway.web.sign_in.house import House, Leave, as_denied
from gateway.web.sign_in.pages import see_other, with_cookies

SIGNED_OUT_PATH = "/login/signed-out"


def add_leaving(portal: FastAPI, house: House) -> None:
    """The routes."""

    @portal.post("/logout")
    async def logout(request: Request) -> Response:
        try:
            response = await _logout(house, request)
        except (SessionDoubt, Denied) as error:
            denied, advice = as_denied(error)
            if denied.reason is not Reason.SESSION_ENDED:
                return house.refusal(request, denied, advice)
            response = see_other(SIGNED_OUT_PATH)  # somebody was quicker
            if browser_of(request).session is None:
                return response  # another site's form comes without the cookie, which may be a good one
        return with_cookies(response, [no_session_cookie()])

    @portal.get(SIGNED_OUT_PATH)
    async def signed_out() -> Response:
        return house.pages("signed_out.html", leave=None, title="")


async def _logout(house: House, request: Request) -> Response:
    """The session here first, whatever the provider says to it.

    Where the ID token goes to the provider, it goes in a form's body: a URL would be kept in histories and logs.
    """
    known = await house.visiting(request, is_page=False)
    house.forms.check(known.session.id_hash, await form_of(request))
    await house.store.end(known.session.id_hash)
    house.guard.forget([known.session.id_hash])
    record_of(request).note = "signed out"
    leave = await _leave(house, known)
    if leave is None:
        return see_other(SIGNED_OUT_PATH)
    title = house.desk.clients[known.session.client].title
    return house.pages("signed_out.html", form_to=leave.url, leave=leave, title=title)


async def _leave(house: House, known: Known) -> Leave | None:
    try:
        id_token = open_contents(known.session, house.contents).id_token
        return await house.leave(known.session.client, id_token)
    except (ProviderDoubt, Unsealable):
        return None
