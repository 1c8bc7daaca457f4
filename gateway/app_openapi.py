"""The configuration, and the stages and edges that it made -> OpenAPI documents and the gateway's own answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gateway.app_shelf import Shelf
from gateway.app_upstream import Upstream
from gateway.config.authenticate import Issuer
from gateway.config.gateway import Gateway
from gateway.edges.discovery import metadata_url, trust
from gateway.edges.openapi_documents import FORMS, OpenapiDocuments, Slots, Terms
from gateway.edges.openapi_documents import Upstream as Forwarding
from gateway.edges.own_operations import HandOut, OwnOperations
from gateway.edges.provider_metadata import ProviderMetadata
from gateway.model import Admission
from gateway.openapi.corrections import read_corrections
from gateway.openapi.own_part import IssuerFacts, Publisher
from gateway.pipeline import Pipeline
from gateway.stages.authorize import Authorize
from gateway.stages.open_document import NobodyIsNobody, NothingForNobody, OrNobody


@dataclass(frozen=True, slots=True)
class Permissions:
    """The stage, asked as the documents ask it."""

    authorize: Authorize

    def roles_of(self, admission: Admission) -> tuple[str, ...]:
        """Those that are held now."""
        return self.authorize.held(admission.request, admission.identity, admission.user).roles

    def permitted(self, method: str, path: str, roles: tuple[str, ...]) -> frozenset[str] | None:
        """See Authorize."""
        return self.authorize.permitted(method, path, roles)


@dataclass(frozen=True, slots=True)
class Parts:
    """What documents need from the rest of the gateway. `forwarding` takes all other grants."""

    upstream: Upstream
    slots: Slots
    forwarding: Forwarding
    shelf: Shelf
    hand_out: HandOut | None = None


def make_answering(config: Gateway, authorize: Authorize, parts: Parts) -> OwnOperations:
    """What answers grants: the gateway itself, or slurmrestd."""
    documents = make_documents(config, authorize, parts)
    cluster = config.server.cluster
    return OwnOperations(documents, Permissions(authorize), cluster, parts.hand_out)


def make_documents(config: Gateway, authorize: Authorize, parts: Parts) -> OpenapiDocuments:
    """In front of what forwards. Made anew by every reload, so that slurmrestd is asked again."""
    terms = Terms(
        keep_seconds=config.forward.openapi_seconds,
        generation=lambda: parts.upstream.pool.generation,
        publisher=make_publisher(config, parts.shelf),
        corrections=read_corrections(),
        monotonic=time.monotonic,
    )
    return OpenapiDocuments(parts.forwarding, parts.slots, Permissions(authorize), terms)


def has_docs_page(config: Gateway) -> bool:
    """Somebody who cannot sign in may read nothing, unless the documents are for everybody."""
    can_read = bool(config.sign_in.clients) or config.authorize.openapi_without_token
    return config.server.docs_page and can_read


def make_publisher(config: Gateway, shelf: Shelf) -> Callable[[], Awaitable[Publisher]]:
    """Who serves the documents, with what is known of the issuers at the time."""
    server, takes_keys = config.server, config.idempotency.enabled
    sources = [make_metadata(issuer, shelf) for issuer in config.authenticate.issuers]

    async def publisher() -> Publisher:
        return Publisher(server.public_url, server.cluster, await all_facts(sources), takes_keys)

    return publisher


Facts = Callable[[], Awaitable[IssuerFacts]]


async def all_facts(sources: Sequence[Facts]) -> tuple[IssuerFacts, ...]:
    """Of all issuers at once, in their order."""
    return tuple(await asyncio.gather(*(source() for source in sources)))


def make_metadata(issuer: Issuer, shelf: Shelf) -> Facts:
    """Where the keys are a file or stand at a URL of their own, nothing is asked.

    Raises OSError for an authority that cannot be read.
    """
    if issuer.jwks_file is not None or issuer.jwks_url is not None:
        name_alone = IssuerFacts(issuer.issuer)
        return lambda: asyncio.sleep(0, name_alone)
    authority = issuer.ca_file.read_bytes() if issuer.ca_file else b""
    url = metadata_url(issuer.issuer, issuer.discovery)
    return shelf.take(
        ("metadata", issuer.issuer, url, authority),
        lambda: ProviderMetadata(trust(issuer.ca_file), issuer.issuer, url),
    ).facts


def open_documents(pipeline: Pipeline, *, is_open: bool) -> Pipeline:
    """The same stages, which let whoever asks for a document through without a token, where that is set."""
    if not is_open:
        return pipeline
    return replace(
        pipeline,
        authenticate=OrNobody(pipeline.authenticate, frozenset(FORMS)),
        map_user=NobodyIsNobody(pipeline.map_user),
        credential=NothingForNobody(pipeline.credential),
    )
