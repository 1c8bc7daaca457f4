"""No token, for an OpenAPI document -> nobody in particular, with the role that everybody has.

Only where the configuration opens the documents. Nobody is a type of its own, which no token makes:
everything that could act for somebody tells it apart, and no credential is issued for it.
"""

import ipaddress
from functools import lru_cache
from typing import Protocol

from gateway.denial import Denied, Reason
from gateway.model import ClusterUser, Identity, InboundRequest, Secret, UpstreamCredential

RULE = "authorize.openapi_without_token"
ROLE = "user"
_USER = ClusterUser("nobody", (ROLE,), RULE)
_CREDENTIAL = UpstreamCredential("nobody", Secret("none"), is_callers=True)
"""slurmrestd asks for the fields and, for its documents, does not look at them (20.11 to 26.05)."""
_VERSION_4 = 4


class Nobody(Identity):
    """Whoever sent no token, counted by address."""

    __slots__ = ()


class Authenticate(Protocol):
    """Who does the identity provider say this is?"""

    async def __call__(self, request: InboundRequest) -> Identity: ...


class MapUser(Protocol):
    """Which account of the cluster is this identity?"""

    async def __call__(self, identity: Identity) -> ClusterUser: ...


class IssueCredential(Protocol):
    """The token that slurmrestd takes for this user."""

    async def __call__(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential: ...


class OrNobody:
    """Authenticates; nobody takes the place of a missing token where one of `paths` is read."""

    def __init__(self, authenticate: Authenticate, paths: frozenset[str]) -> None:
        self._authenticate = authenticate
        self._paths = paths
        self._nobody = lru_cache(maxsize=256)(_nobody)

    async def __call__(self, request: InboundRequest) -> Identity:
        """Raises Denied as authenticate does, and for every token that is presented and not good."""
        try:
            return await self._authenticate(request)
        except Denied as denied:
            is_open = request.method == "GET" and request.target.path in self._paths
            if denied.reason is not Reason.TOKEN_MISSING or not is_open:
                raise
            return self._nobody(request.client_address)


class NobodyIsNobody:
    """Maps users; nobody is mapped to no account that acts."""

    def __init__(self, map_user: MapUser) -> None:
        self._map_user = map_user

    async def __call__(self, identity: Identity) -> ClusterUser:
        """Raises Denied as map_user does."""
        return _USER if isinstance(identity, Nobody) else await self._map_user(identity)


class NothingForNobody:
    """Issues credentials; nobody's is none that Slurm would take."""

    def __init__(self, issue: IssueCredential) -> None:
        self._issue = issue

    async def __call__(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential:
        """Raises Denied as the credential stage does."""
        if isinstance(identity, Nobody):
            return _CREDENTIAL
        return await self._issue(identity, user, bearer)


def _nobody(address: str) -> Nobody:
    return Nobody(
        issuer="",
        subject=f"nobody at {_network(address)}",
        client_id="",
        kind="machine",
        groups=(),
        issued_at=0.0,
        expires=float("inf"),
        token_hash="",
    )


def _network(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one, which is what a single host is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == _VERSION_4:
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
