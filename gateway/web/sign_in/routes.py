"""House -> its routes in the portal, the style sheet and the icon."""

from importlib.resources import files

from fastapi import FastAPI, Response

from gateway.web.sign_in.backchannel import add_backchannel
from gateway.web.sign_in.house import House
from gateway.web.sign_in.leaving import add_leaving
from gateway.web.sign_in.login import add_login
from gateway.web.sign_in.me import add_me
from gateway.web.sign_in.pages import ICON_PATH, STYLE_PATH


def add_sign_in(portal: FastAPI, house: House) -> None:
    """Everything that people see in a browser."""
    add_login(portal, house)
    add_me(portal, house)
    add_leaving(portal, house)
    add_backchannel(portal, house)


def add_look(portal: FastAPI) -> None:
    """What all pages share."""
    _add_file(portal, STYLE_PATH, "text/css; charset=utf-8")
    _add_file(portal, ICON_PATH, "image/svg+xml")


def _add_file(portal: FastAPI, path: str, media_type: str) -> None:
    content = files("gateway.web").joinpath("static", path.rpartition("/")[2]).read_bytes()
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}

    @portal.get(path)
    async def static_file() -> Response:
        return Response(content, 200, headers, media_type=media_type)
