"""What the gateway answers by itself on the public listener: its metadata, its error pages, a front page."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from gateway.denial import Denied, Reason
from gateway.edges.own_operations import OWN
from gateway.pipeline import note_denial
from gateway.web.docs_page.page import add_docs_page
from gateway.web.problems import PROBLEM_TYPE, render
from gateway.web.sign_in.house import House
from gateway.web.sign_in.pages import DOCS_PATH, Pages
from gateway.web.sign_in.routes import add_look, add_sign_in

METADATA_PATH = "/.well-known/oauth-protected-resource"
_WHOLE = frozenset({b"/", b"/login", b"/logout", b"/me", DOCS_PATH.encode()})
_BELOW = (b"/.well-known/", b"/gateway/", b"/login/", b"/me/")
_IN_THE_PIPELINE = frozenset(path.encode() for path in OWN)
"""What needs a token, a Slurm user and a role, although it is not for slurmrestd."""


def is_portal_path(raw_path: bytes) -> bool:
    """Whether the portal answers this path; slurmrestd has no operation below these."""
    if raw_path in _WHOLE or raw_path.startswith(_BELOW):
        return raw_path not in _IN_THE_PIPELINE
    return False


class PublishedIssuer(NamedTuple):
    """Who issues tokens, and the public client of command lines there, empty where there is none."""

    issuer: str
    cli_client_id: str = ""
    cli_scopes: tuple[str, ...] = ()


def build_portal(
    public_url: str,
    cluster: str,
    issuers: Sequence[PublishedIssuer],
    house: House | None = None,
    *,
    has_docs: bool = False,
) -> FastAPI:
    """The FastAPI application for everything that is not proxied. Nothing here needs a token.

    `house` is what people sign in with, None where they cannot. With `has_docs` calls can be tried.
    """
    portal = FastAPI(
        title="slurm-gateway",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        debug=False,
        redirect_slashes=False,  # it would send clients to whatever host their Host field names
    )
    metadata = protected_resource_metadata(public_url, cluster, issuers)
    front = _front_page(cluster, has_sign_in=house is not None, has_docs=has_docs)

    @portal.get(METADATA_PATH)
    async def resource_metadata() -> JSONResponse:
        return JSONResponse(metadata, headers={"Cache-Control": "public, max-age=300"})

    @portal.get("/")
    async def front_page() -> PlainTextResponse:
        return PlainTextResponse(front)

    @portal.get(PROBLEM_TYPE + "{code}")
    async def error_page(request: Request) -> PlainTextResponse:
        # an argument of its own would have FastAPI load a second Pydantic: a tenth of a second of every start
        page = read_error_page(request.path_params["code"])
        return PlainTextResponse(page, media_type="text/markdown; charset=utf-8")

    _add_pages(portal, cluster, house, has_docs=has_docs)
    portal.add_exception_handler(Denied, _answer_denied)
    portal.add_exception_handler(HTTPException, _answer_http_exception)
    return portal


def _front_page(cluster: str, *, has_sign_in: bool, has_docs: bool) -> str:
    return (
        f"slurm-gateway for the cluster {cluster}.\n"
        f"Slurm's REST API is below /slurm/ and /slurmdb/, with a bearer token.\n"
        f"Who issues tokens: {METADATA_PATH}\n"
        + ("Sign in with a browser: /me\n" if has_sign_in else "")
        + (f"Read and try calls in a browser: {DOCS_PATH}\n" if has_docs else "")
    )


def _add_pages(portal: FastAPI, cluster: str, house: House | None, *, has_docs: bool) -> None:
    """What people see in a browser."""
    if house is not None or has_docs:
        add_look(portal)
    if house is not None:
        add_sign_in(portal, house)
    if has_docs:
        add_docs_page(portal, house.pages if house else Pages(cluster), house)


def protected_resource_metadata(
    public_url: str, cluster: str, issuers: Sequence[PublishedIssuer]
) -> dict[str, Any]:
    """The document of RFC 9728 section 2; members without a value are left out.

    `command_line_clients` is ours: what a command line needs to sign in by itself (RFC 8628, RFC 8252).
    """
    clients = [
        {"issuer": one.issuer, "client_id": one.cli_client_id, "scopes": list(one.cli_scopes)}
        for one in issuers
        if one.cli_client_id
    ]
    scopes = sorted({scope for client in clients for scope in client["scopes"]})
    return {
        "resource": public_url,
        "resource_name": f"Slurm cluster {cluster}",
        "authorization_servers": [one.issuer for one in issuers],
        **({"scopes_supported": scopes} if scopes else {}),
        "bearer_methods_supported": ["header"],
        **({"command_line_clients": clients} if clients else {}),
    }


def read_error_page(code: str) -> str:
    """The page of one code. Raises Denied(PAGE_UNKNOWN); `code` is compared, never joined unchecked."""
    if code not in {reason.code for reason in Reason}:
        raise Denied(Reason.PAGE_UNKNOWN, f"no such code: {code[:64]}")
    return files("gateway.web").joinpath("errors", f"{code}.md").read_text(encoding="utf-8")


async def _answer_denied(request: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)  # noqa: S101 (registered for Denied alone)
    record = request.scope.get("gateway.record")
    if record is not None:
        note_denial(record, error)
    status, headers, body = render(error, request_id_of(request))
    response = Response(body, status)
    response.raw_headers = headers
    return response


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for HTTPException alone)
    is_method = error.status_code == Reason.METHOD_NOT_ALLOWED.status
    denied = (
        Denied(Reason.METHOD_NOT_ALLOWED, headers=(("Allow", "GET"),))
        if is_method
        else Denied(Reason.PAGE_UNKNOWN)
    )
    return await _answer_denied(request, denied)


def request_id_of(request: Request) -> str:
    """The id that the dispatcher has given this request."""
    return str(request.scope.get("gateway.request_id", ""))
