"""A provider's word that somebody has left there -> the sessions here that end with it."""

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gateway.denial import Denied, Reason
from gateway.pipeline import note_denial
from gateway.sign_in.desk import Client
from gateway.sign_in.logout_token import read_logout
from gateway.sign_in.session import SessionDoubt
from gateway.token.refused import TokenRefused
from gateway.web.sign_in.asked import form_of, record_of
from gateway.web.sign_in.house import House, as_denied

_UNCACHED = {"Cache-Control": "no-store"}


def add_backchannel(portal: FastAPI, house: House) -> None:
    """The route. It knows no session and no cookie: the token alone speaks."""

    @portal.post("/login/backchannel/{name}")  # noqa: FAST003 (as in portal.py)
    async def backchannel(request: Request) -> Response:
        name = request.path_params["name"]
        client = house.desk.clients.get(name)
        if client is None:
            raise Denied(Reason.PAGE_UNKNOWN)
        try:
            ended = await _end(house, client, request)
        except SessionDoubt as doubt:
            raise as_denied(doubt)[0] from doubt
        except TokenRefused as refused:
            return _refusal(request, refused.cause)
        house.guard.forget(ended)
        record_of(request).note = f"{len(ended)} sessions ended by {name}"
        return Response(None, 200, _UNCACHED)


async def _end(house: House, client: Client, request: Request) -> Sequence[str]:
    token = (await form_of(request)).get("logout_token", "")
    leaving = await read_logout(token, client.rules, client.keys, house.desk.now())
    ended = await house.store.end_all_once(*leaving)
    if ended is None:
        raise TokenRefused("jti was used before")
    return ended


def _refusal(request: Request, cause: str) -> Response:
    """As OpenID Connect Back-Channel Logout, section 2.8, has it: JSON of OAuth, for a program."""
    denied = Denied(Reason.LOGOUT_TOKEN_INVALID, cause)
    note_denial(record_of(request), denied)
    body = {"error": "invalid_request", "error_description": denied.detail}
    return JSONResponse(body, denied.reason.status, _UNCACHED)
