"""A gateway's URL -> who issues its tokens, as which client to ask there, and the issuer's endpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from gateway.client.asking import reaching, read_answer
from gateway.client.place import is_loopback, is_private_url
from gateway.client.trouble import Exit, Trouble, printable

_RESOURCE = "/.well-known/oauth-protected-resource"
_DISCOVERY = ("openid-configuration", "oauth-authorization-server")


@dataclass(frozen=True, slots=True)
class Registration:
    """As whom a command line asks which issuer for what."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Of one issuer; empty where it has none."""

    token: str
    authorization: str = ""
    device: str = ""
    revocation: str = ""


def read_registrations(http: httpx2.Client, url: str) -> tuple[list[Registration], str]:
    """What the gateway's metadata (RFC 9728) says of command lines, and the gateway's own URL there.

    Issuers without a client of their own come with an empty client_id: machines bring their own.
    """
    with reaching(f"The gateway {url}"):
        response = http.get(url + _RESOURCE)
    content = read_answer(response, url).content
    named = content.get("command_line_clients")
    listed = named if isinstance(named, list) else []
    found = [_registration(one) for one in listed if isinstance(one, Mapping)]
    found = [one for one in found if one.issuer]
    known = {one.issuer for one in found}
    servers = content.get("authorization_servers")
    issuers = [_text(one) for one in servers] if isinstance(servers, list) else []
    found += [Registration(one, "", ()) for one in issuers if one and one not in known]
    if not found:
        raise Trouble(
            Exit.UNREADABLE_ANSWER,
            f"{url} does not say who issues its tokens.",
            "check that this is the gateway's own address",
        )
    own_name = _text(content.get("resource"))
    if not own_name:
        raise Trouble(
            Exit.UNREADABLE_ANSWER,
            f"{url} does not say whose tokens it takes.",
            "check that this is the gateway's own address",
        )
    return found, own_name.rstrip("/")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _registration(content: Mapping[str, Any]) -> Registration:
    scopes = content.get("scopes")
    listed = scopes if isinstance(scopes, Sequence) and not isinstance(scopes, str) else ()
    return Registration(
        _text(content.get("issuer")),
        _text(content.get("client_id")),
        tuple(str(scope) for scope in listed),
    )


def choose(registrations: Sequence[Registration], issuer: str | None) -> Registration:
    """The one that is meant. Raises Trouble where that is not clear."""
    wanted = [one for one in registrations if issuer in (None, one.issuer)]
    with_client = [one for one in wanted if one.client_id]
    if len(with_client) == 1 or len(wanted) == 1:
        return (with_client or wanted)[0]
    names = ", ".join(printable(one.issuer) for one in registrations)
    raise Trouble(
        Exit.WRONG_CALL,
        f"The gateway trusts more than one issuer: {names}."
        if wanted
        else f"The gateway does not trust {printable(issuer)}; it trusts {names}.",
        "say which with --issuer URL",
    )


def read_endpoints(http: httpx2.Client, issuer: str) -> Endpoints:
    """The issuer's metadata (OpenID Connect Discovery, RFC 8414). Raises Trouble.

    It has to call itself by the name it was asked by, and its endpoints have to be https.
    """
    if not is_private_url(issuer):
        raise Trouble(Exit.UNREADABLE_ANSWER, f"The issuer {printable(issuer)} is not https.")
    last: Trouble | None = None
    for document in _DISCOVERY:
        with reaching(f"The identity provider {issuer}"):
            response = http.get(_discovery_url(issuer, document))
        try:
            content = read_answer(response, issuer).content
        except Trouble as trouble:
            last = trouble
            continue
        return _endpoints(content, issuer)
    raise Trouble(
        Exit.UNREADABLE_ANSWER,
        f"{issuer} has no metadata: {last.sentence if last else ''}",
        "ask the gateway's administrators",
    )


def _discovery_url(issuer: str, document: str) -> str:
    """OpenID puts the well-known path behind the issuer's own, RFC 8414 before it."""
    parts = urlsplit(issuer)
    well_known = f"/.well-known/{document}"
    own = parts.path.rstrip("/")
    path = own + well_known if document == _DISCOVERY[0] else well_known + own
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _endpoints(content: Mapping[str, Any], issuer: str) -> Endpoints:
    if content.get("issuer") != issuer:
        raise Trouble(
            Exit.UNREADABLE_ANSWER,
            f"{issuer} calls itself {printable(content.get('issuer'))}.",
            "ask the gateway's administrators: the issuer's name has to be the same everywhere",
        )
    named = {
        "token": "token_endpoint",
        "authorization": "authorization_endpoint",
        "device": "device_authorization_endpoint",
        "revocation": "revocation_endpoint",
    }
    found = {key: _endpoint(content, member, issuer) for key, member in named.items()}
    if not found["token"]:
        raise Trouble(Exit.UNREADABLE_ANSWER, f"{issuer} has no token endpoint.")
    return Endpoints(**found)


def _endpoint(content: Mapping[str, Any], member: str, issuer: str) -> str:
    """Empty where there is none. This machine is spoken to for an issuer on this machine only. Raises Trouble."""
    endpoint = content.get(member) or ""
    if endpoint == "":
        return ""
    is_good = isinstance(endpoint, str) and is_private_url(endpoint)
    if not is_good or (is_loopback(urlsplit(endpoint)) and not is_loopback(urlsplit(issuer))):
        raise Trouble(Exit.UNREADABLE_ANSWER, f"{issuer}: {member} is not https.")
    return str(endpoint)
