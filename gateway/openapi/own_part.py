"""(public URL, cluster, issuers) -> what the gateway says in a document: servers, security, problem documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from gateway.denial import Reason

PROBLEM: Final = "application/problem+json"
PROBLEM_SCHEMA: Final = "Problem"
_BODY_STATUS: Final = 413
_EVERYWHERE: Final = (401, 403, 429, 503)
_RETRY: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What a client may know of one issuer; empty where it is not known."""

    issuer: str
    metadata_url: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    scopes: tuple[str, ...] = ()
    has_client_credentials: bool = False


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who serves the document. Equal ones make equal documents."""

    public_url: str
    cluster: str
    issuers: tuple[IssuerFacts, ...]
    takes_keys: bool = False
    """Whether a submission may have an Idempotency-Key."""

    def info(self, release: str) -> dict[str, Any]:
        """What is documented, and whose it is."""
        return {
            "title": f"Slurm REST API of the cluster {self.cluster}",
            "description": "What you may call here, with an access token of one of the issuers below.",
            "version": release or "unknown",
        }

    def servers(self) -> list[dict[str, str]]:
        return [{"url": self.public_url.rstrip("/")}]

    def security_schemes(self) -> dict[str, Any]:
        """A bearer token, and the ways to come by one."""
        schemes: dict[str, Any] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": f"An access token of {' or '.join(self._names()) or 'an issuer'}.",
            }
        }
        for number, issuer in enumerate(self.issuers, 1):
            if flows := _flows(issuer):
                schemes[f"oauth2_{number}"] = {
                    "type": "oauth2",
                    "description": f"Sign-in at {issuer.issuer}",
                    "flows": flows,
                }
            if issuer.metadata_url:
                schemes[f"openid_{number}"] = {
                    "type": "openIdConnect",
                    "description": f"Sign-in at {issuer.issuer}",
                    "openIdConnectUrl": issuer.metadata_url,
                }
        return schemes

    def _names(self) -> list[str]:
        return [issuer.issuer for issuer in self.issuers]

    def security(self) -> list[dict[str, list[str]]]:
        """One of them is enough."""
        return [{name: []} for name in self.security_schemes()]


def _flows(issuer: IssuerFacts) -> dict[str, Any]:
    """Of OAuth 2.0, those that the issuer's metadata names (RFC 8414 section 2)."""
    flows: dict[str, Any] = {}
    scopes = dict.fromkeys(issuer.scopes, "")
    token = {"tokenUrl": issuer.token_endpoint, "scopes": scopes}
    if issuer.token_endpoint and issuer.authorization_endpoint:
        flows["authorizationCode"] = {
            "authorizationUrl": issuer.authorization_endpoint,
            **token,
        }
    if issuer.token_endpoint and issuer.has_client_credentials:
        flows["clientCredentials"] = token
    return flows


def refusals(*, takes_body: bool) -> dict[str, Any]:
    """The gateway's own answers, by status, as references."""
    statuses = sorted((*_EVERYWHERE, _BODY_STATUS) if takes_body else _EVERYWHERE)
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses}


def responses() -> dict[str, Any]:
    """What the references mean, with all codes that the gateway has for them."""
    return {_name(status): _response(status) for status in sorted((*_EVERYWHERE, _BODY_STATUS))}


def _name(status: int) -> str:
    return "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())


def _response(status: int) -> dict[str, Any]:
    reasons = [reason for reason in Reason if reason.status == status]
    answer: dict[str, Any] = {
        "description": "\n".join(f"- `{reason.code}`: {reason.sentence}" for reason in reasons),
        "content": problem_content(),
    }
    headers = _headers(status)
    return {**answer, "headers": headers} if headers else answer


def _headers(status: int) -> dict[str, Any]:
    text = {"type": "string"}
    if status == HTTPStatus.UNAUTHORIZED:
        described = "How to authenticate, and where the metadata of RFC 9728 is."
        return {"WWW-Authenticate": {"description": described, "schema": text}}
    if status in _RETRY:
        described = "Seconds to wait before the next try."
        return {"Retry-After": {"description": described, "schema": {"type": "integer"}}}
    return {}


def problem_content() -> dict[str, Any]:
    """A problem document as content."""
    return {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{PROBLEM_SCHEMA}"}}}


def problem_schema() -> dict[str, Any]:
    """RFC 9457 with the gateway's own members. `code` is open: later versions may have more."""
    members: Mapping[str, tuple[str, str]] = {
        "type": ("string", "Where the page of this code is, relative to the server."),
        "title": ("string", "The code in one sentence."),
        "status": ("integer", "The HTTP status."),
        "detail": ("string", "What was wrong with this request."),
        "instance": ("string", "The same as request_id."),
        "code": ("string", "Stable; for programs."),
        "request_id": ("string", "For the administrators, who find it in the audit."),
        "outcome": ("string", 'Of a write without an answer: "not-run" or "unknown".'),
    }
    required: Sequence[str] = [name for name in members if name != "outcome"]
    return {
        "type": "object",
        "description": "A refusal of the gateway (RFC 9457).",
        "properties": {
            name: {"type": kind, "description": text} for name, (kind, text) in members.items()
        },
        "required": list(required),
    }
