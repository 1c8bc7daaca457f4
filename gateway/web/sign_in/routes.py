"""House -> its routes in the portal, and the one style sheet."""

from importlib.resources import files

from fastapi import FastAPI, Response

from gateway.web.sign_in.backchannel import add_backchannel
from gateway.web.sign_in.house import House
from gateway.web.sign_in.leaving import add_leaving
from gateway.web.sign_in.login import add_login
from gateway.web.sign_in.me import add_me
from gateway.web.sign_in.pages import STYLE_PATH


def add_sign_in(portal: FastAPI, house: House) -> None:
    """Everything that people see in a browser."""
    add_login(portal, house)
    add_me(portal, house)
    add_leaving(portal, house)
    add_backchannel(portal, house)
    style = files("gateway.web").joinpath("static", "style.css").read_bytes()

    @portal.get(STYLE_PATH)
    async def style_sheet() -> Response:
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(style, 200, headers, media_type="text/css; charset=utf-8")
