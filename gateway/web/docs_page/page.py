"""/docs: a session, or a token that is typed in, -> Swagger UI on the caller's own OpenAPI document.

The page holds nothing that depends on the caller but their Slurm user's name. Its script asks for the document
as any program does, and sends every call to where the page came from, through the stages that all calls pass.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Request, Response

from gateway.denial import Denied, Reason
from gateway.sign_in.guard import Known
from gateway.web.docs_page.assets import Assets, add_assets, read_assets
from gateway.web.sign_in.asked import navigates
from gateway.web.sign_in.house import House
from gateway.web.sign_in.pages import DOCS_PATH, Pages, see_other

_SIGN_IN: Final = f"/login?to={DOCS_PATH}"
_NONCE_BYTES: Final = 18


def add_docs_page(portal: FastAPI, pages: Pages, house: House | None) -> None:
    """The route, and those of its files. Without a house a token is typed in."""
    assets = read_assets()
    add_assets(portal, assets)
    shown = _Shown(pages, assets)

    @portal.get(DOCS_PATH)
    async def docs(request: Request) -> Response:
        if house is None:
            return shown(None)
        try:
            known = await house.visiting(request)
        except Denied as denied:
            if not navigates(request):
                raise
            if denied.reason is Reason.SESSION_ENDED:
                return see_other(_SIGN_IN)
            return house.refusal(request, denied)
        return shown(await _caller(house, known))


@dataclass(frozen=True, slots=True)
class _Caller:
    """Which Slurm user calls come from, empty where there is none, and why."""

    user: str
    problem: str = ""


async def _caller(house: House, known: Known) -> _Caller:
    try:
        return _Caller((await house.map_user(known.identity)).name)
    except Denied as denied:
        return _Caller("", f"{denied.reason.sentence} ({denied.reason.code})")


@dataclass(frozen=True, slots=True)
class _Shown:
    """The page, with a policy of its own."""

    pages: Pages
    assets: Assets

    def __call__(self, caller: _Caller | None) -> Response:
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        page = self.pages("docs.html", assets=self.assets, caller=caller, nonce=nonce)
        page.headers["Content-Security-Policy"] = policy(nonce)
        return page


def policy(nonce: str) -> str:
    """Two scripts, by a nonce and not by origin: an answer of Slurm's is of our origin too.

    Swagger UI's pictures are data: URLs in its style sheet. It needs neither inline style nor eval.
    """
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    )
