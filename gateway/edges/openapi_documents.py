"""A Grant for an OpenAPI document -> the document that is true for the caller; other grants -> slurmrestd.

slurmrestd's own document is fetched once, checked and kept; nobody is ever answered with it. Each
set of roles has its document made once, in a thread, and remembered.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson

from gateway.denial import Denied, Reason
from gateway.edges.few_threads import FewThreads
from gateway.edges.one_flight import OneFlight
from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import Admission, AuthorizedCall, Grant, Identity, Lease, Operation, Risk
from gateway.openapi.corrections import Correction
from gateway.openapi.cut import cut
from gateway.openapi.own_part import Publisher
from gateway.openapi.source import MAXIMUM_DOCUMENT_BYTES, DocumentRefused, Source, read_source
from gateway.openapi.yaml_text import write_yaml
from gateway.request.media_type import JSON, YAML
from gateway.stages.cache import has_tag
from gateway.stages.forward import own_head

FORMS: Final = {"/openapi": "", "/openapi/v3": "", "/openapi.json": JSON, "/openapi.yaml": YAML}
"""The documents' addresses, and the form of each where its name says one."""

_ADDRESS = Operation("GET", "/openapi/v3", Risk.READ_HEAVY, False, False)
_OK = 200
_NOT_MODIFIED = 304
_MOST_DOCUMENTS = 16
"""Remembered ones, of 2 MB at most on the releases that were measured."""
_WORK_SECONDS = 30.0
_MEDIA_TYPES = {JSON: b"application/json", YAML: b"application/yaml"}
"""RFC 9512 for the second."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...


class Slots(Protocol):
    """A fair share of slurmrestd's few connections."""

    async def acquire(self, identity: Identity) -> Lease: ...


class Permissions(Protocol):
    """The stage that decides on calls, asked about what is documented."""

    def roles_of(self, admission: Admission, /) -> tuple[str, ...]: ...

    def permitted(
        self, method: str, path: str, roles: tuple[str, ...]
    ) -> frozenset[str] | None: ...


class Served(NamedTuple):
    """A document as it goes out. `tag` is its entity tag (RFC 9110 section 8.8.3)."""

    body: bytes
    tag: str
    media_type: bytes


class _Kept(NamedTuple):
    """A source, since when (on a monotonic clock), and of which connections' generation."""

    source: Source
    since: float
    generation: int


@dataclass(frozen=True, slots=True)
class Terms:
    """When a source is asked for anew, and whose document it becomes."""

    keep_seconds: float
    generation: Callable[[], int]
    publisher: Callable[[], Awaitable[Publisher]]
    corrections: Sequence[Correction]
    monotonic: Callable[[], float]


class OpenapiDocuments:
    """An Upstream for everything; the documents are answered here."""

    def __init__(
        self, upstream: Upstream, slots: Slots, permissions: Permissions, terms: Terms
    ) -> None:
        self._upstream = upstream
        self._slots = slots
        self._permissions = permissions
        self._terms = terms
        self._threads = FewThreads(1)
        self._kept: _Kept | None = None
        self._fetching: OneFlight[str, Source] = OneFlight()
        self._making: OneFlight[object, Served] = OneFlight()
        self._made: OrderedDict[object, Served] = OrderedDict()

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]:
        """See Upstream."""
        if grant.admission.call.operation.template in FORMS:
            return self._answer(grant)
        return self._upstream.send(grant)

    async def _answer(self, grant: Grant) -> Answer:
        grant.slot.release()  # only a flight needs one
        admission = grant.admission
        source = await self._source(grant)
        roles = self._permissions.roles_of(admission)
        form = FORMS[admission.call.operation.template] or admission.request.accept
        publisher = await self._terms.publisher()
        served = await self._served(source, roles, publisher, form)
        return _answer(served, admission.request.if_none_match)

    # slurmrestd's own

    async def _source(self, grant: Grant) -> Source:
        """The kept one while it is young and slurmrestd's connections have not lapsed since."""
        kept = self._kept
        if kept is not None and self._is_fresh(kept):
            return kept.source
        # a caller's own token that Slurm refuses must fail nobody else
        credential = grant.credential
        whose = credential.token.reveal if credential.is_callers else ""
        return await self._fetching.join(whose, lambda: self._fetch(grant))

    def _is_fresh(self, kept: _Kept) -> bool:
        terms = self._terms
        is_young = terms.monotonic() - kept.since < terms.keep_seconds
        return is_young and kept.generation == terms.generation()

    async def _fetch(self, grant: Grant) -> Source:
        terms = self._terms
        since, generation = terms.monotonic(), terms.generation()
        slot = await self._slots.acquire(grant.admission.identity)
        try:
            raw = await self._read(_asking(grant, slot))
        finally:
            slot.release()
        source = await self._parse(raw)
        self._kept = _Kept(source, since, generation)
        return source

    async def _read(self, grant: Grant) -> bytes:
        """The whole document. Raises Denied."""
        answer = await self._upstream.send(grant)
        try:
            if answer.head.status != _OK:
                raise _unusable(f"status {answer.head.status}")
            if not await answer.read_all(MAXIMUM_DOCUMENT_BYTES):
                raise _unusable(f"{answer.head.length} bytes")
        except UpstreamFailed as failure:
            raise denied(failure, grant.admission.call) from failure
        finally:
            answer.close()
        return answer.whole or b""

    async def _parse(self, raw: bytes) -> Source:
        kept = self._kept
        if kept is not None and kept.source.digest == sha256(raw).hexdigest():
            return kept.source
        try:
            source = await self._work(lambda: read_source(raw, self._terms.corrections))
        except DocumentRefused as refused:
            _log.error("slurmrestd's OpenAPI document is not usable: %s", refused)
            raise _unusable(str(refused)) from None
        _log.info("slurmrestd's OpenAPI document: %s, %d bytes", source.release, len(raw))
        return source

    # the caller's

    async def _served(
        self, source: Source, roles: tuple[str, ...], publisher: Publisher, form: str
    ) -> Served:
        key = (source.digest, roles, publisher, form)
        made = self._made.get(key)
        if made is None:
            return await self._making.join(key, lambda: self._make(key, source))
        self._made.move_to_end(key)
        return made

    async def _make(
        self, key: tuple[str, tuple[str, ...], Publisher, str], source: Source
    ) -> Served:
        _, roles, publisher, form = key

        def permits(method: str, path: str) -> frozenset[str] | None:
            return self._permissions.permitted(method, path, roles)

        served = await self._work(lambda: write(cut(source, permits, publisher), form))
        self._made[key] = served
        while len(self._made) > _MOST_DOCUMENTS:
            self._made.popitem(last=False)
        return served

    async def _work(self, function: Callable[[], T]) -> T:
        try:
            return await self._threads.run(_WORK_SECONDS, function)
        except (TimeoutError, OSError) as error:
            raise _unusable(f"no thread made it: {type(error).__name__}") from error


def write(document: dict[str, Any], form: str) -> Served:
    """A document in one form, with its tag."""
    body = write_yaml(document) if form == YAML else orjson.dumps(document)
    return Served(body, f'"{sha256(body).hexdigest()[:32]}"', _MEDIA_TYPES[form])


def _asking(grant: Grant, slot: Lease) -> Grant:
    """The same caller's request for slurmrestd's own document."""
    call = AuthorizedCall(_ADDRESS, "", _ADDRESS.template.encode(), _ADDRESS.risk, "")
    request = grant.admission.request._replace(accept=JSON, media_type="", length=0)
    admission = grant.admission._replace(call=call, request=request)
    return Grant(admission, None, grant.credential, slot)


def _unusable(note: str) -> Denied:
    detail = "slurmrestd's own OpenAPI document cannot be used."
    return Denied(Reason.UPSTREAM_INVALID, f"OpenAPI document: {note}", detail=detail)


def _answer(served: Served, if_none_match: str) -> Answer:
    """200, or 304 for a client that has it (RFC 9110 section 13.1.2)."""
    told = (
        (b"etag", served.tag.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"Accept, Authorization, Cookie"),
        (b"x-content-type-options", b"nosniff"),
    )
    if has_tag(if_none_match, served.tag):
        return Answer(own_head(_NOT_MODIFIED, 0, told), b"")
    headers = ((b"content-type", served.media_type), *told)
    return Answer(own_head(_OK, len(served.body), headers), served.body)
