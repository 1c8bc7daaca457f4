"""(Admission with a Selection, Answer of slurmrestd) -> an Answer with what is wanted of its list.

As a stream: memory holds what is wanted, and no more, whatever the length of the answer.
"""

import asyncio
from functools import partial
from typing import Any

import orjson

from gateway.denial import Denied, Reason
from gateway.edges.held_answer import HeldAnswer
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, Selection
from gateway.slurm_api.job_list import JobList, ListRefused, ListTooLarge
from gateway.slurm_api.lenient_json import loads
from gateway.slurm_api.list_index import ListIndex
from gateway.slurm_api.selecting import (
    Collector,
    FieldCheck,
    FieldUnknown,
    FilterUnknown,
    Page,
    TooMuch,
)
from gateway.slurm_api.selection import LISTINGS, PREFIX, Matcher
from gateway.stages.forward import AnswerHead, own_head

MOST_BYTES = 33_554_432
_MOST_ENVELOPE_BYTES = 1_048_576
_MOST_ITEM_BYTES = 4_194_304
_SLICE_BYTES = 65_536
_MOST_NAMED = 100
_LOOK_BYTES = 64
"""To look at an item takes about as long as to parse so much of one."""
_PARSED_AT_ONCE = 8
"""Some 64 KiB, between which other requests are served."""
_OK = 200


def selection_of(admission: Admission) -> Selection:
    """Asked only where there is one."""
    selection = admission.call.selection
    if selection is None:
        raise RuntimeError("nothing is selected")
    return selection


def collector_for(admission: Admission) -> Collector:
    """Nothing collected yet."""
    selection, user = selection_of(admission), admission.user
    return Collector(selection, Matcher(selection, user.name, user.uid), MOST_BYTES)


async def select_streamed(admission: Admission, answer: Answer) -> Answer:
    """Errors of slurmrestd go through as they are. Raises Denied: PARAMETER_INVALID for a field that is none,
    LIST_TOO_LARGE, UPSTREAM_INVALID; or UpstreamFailed.
    """
    if answer.head.status != _OK:
        return answer
    try:
        body, page = await _Selecting(admission).run(answer)
    except (FieldUnknown, FilterUnknown, TooMuch, ListRefused) as error:
        raise refusal(error) from None
    selected = HeldAnswer(with_headers(answer.head, len(body), page), body)
    selected.seconds = answer.seconds
    answer.close()
    return selected


class _Selecting:
    def __init__(self, admission: Admission) -> None:
        selection = selection_of(admission)
        self._collector = collector_for(admission)
        self._check = FieldCheck(selection)
        self._items = JobList(
            self._take,
            most_bytes=_MOST_ENVELOPE_BYTES,
            most_job_bytes=_MOST_ITEM_BYTES,
            member=LISTINGS[selection.operation].member,
        )

    def _take(self, raw: bytes) -> bool:
        """Nothing stays where it was: the page is put in at the end."""
        try:
            item: dict[str, Any] = loads(raw)
        except orjson.JSONDecodeError:
            raise ListRefused("an item that is no JSON") from None
        if not self._check.is_done:
            self._check.look(item)
        self._collector.offer(item, lambda: raw, is_whole=True)
        return False

    async def run(self, answer: Answer) -> tuple[bytes, Page]:
        if answer.whole is not None:
            await self._feed(answer.whole)
        while not answer.is_over:
            await self._feed(await answer.read())
        envelope, at = self._items.finish(), self._items.list_at
        if not at:
            raise ListRefused("no list")
        self._check.finish()
        page = self._collector.page()
        return put_in(envelope, at, at, page), page

    async def _feed(self, piece: bytes) -> None:
        """In slices, between which other requests are served."""
        for begin in range(0, len(piece), _SLICE_BYTES):
            self._items.feed(piece[begin : begin + _SLICE_BYTES])
            await asyncio.sleep(0)


async def index_of(admission: Admission, body: bytes) -> ListIndex:
    """Where the items of a whole list are. Raises ListUnreadable."""
    index = ListIndex(body, LISTINGS[selection_of(admission).operation])
    while not index.is_whole:
        index.step(_SLICE_BYTES)
        await asyncio.sleep(0)
    return index


async def select_indexed(admission: Admission, index: ListIndex) -> Page:
    """The same as the stream's, of a list whose items are known.

    Raises FieldUnknown, FilterUnknown, TooMuch, JSONDecodeError.
    """
    collector, selection = collector_for(admission), selection_of(admission)
    body = memoryview(index.body)  # parts of it are not copied one by one
    check = FieldCheck(selection)
    for count, item in enumerate(index.items, 1):
        if check.is_done:
            break
        check.look(loads(body[item.begin : item.end]))
        if not count % _PARSED_AT_ONCE:
            await asyncio.sleep(0)
    check.finish()
    work = 0
    for begin, end, summary in index.candidates(selection):
        is_shown = collector.offer(summary, partial(_cut, body, begin, end), is_whole=False)
        work += end - begin if is_shown and selection.fields else _LOOK_BYTES
        if work > _SLICE_BYTES:
            work = 0
            await asyncio.sleep(0)
    return collector.page()


def _cut(body: memoryview, begin: int, end: int) -> memoryview:
    return body[begin:end]


def put_in(body: bytes, begin: int, end: int, page: Page) -> bytes:
    """The envelope as it came, around the items of the page."""
    return b"".join((body[:begin], *page.pieces, body[end:]))


def with_headers(head: AnswerHead, length: int, page: Page) -> AnswerHead:
    """The same head for the page."""
    headers = tuple(pair for pair in head.headers if pair[0] != b"content-length")
    return own_head(_OK, length, (*headers, *page.headers))


def refusal(error: ValueError) -> Denied:
    """Why there is no such page."""
    if isinstance(error, FieldUnknown):
        known = ", ".join(error.known[:_MOST_NAMED])
        detail = f"{PREFIX}fields: {error.path[:128]} is no field here. Known: {known}."
        return Denied(Reason.PARAMETER_INVALID, f"{PREFIX}fields", detail=detail)
    if isinstance(error, FilterUnknown):
        detail = f"{PREFIX}{error}: nothing here says that in this API version."
        return Denied(Reason.PARAMETER_INVALID, f"{PREFIX}{error}", detail=detail)
    if isinstance(error, TooMuch | ListTooLarge):
        return Denied(Reason.LIST_TOO_LARGE, "selected items")
    return Denied(Reason.UPSTREAM_INVALID, f"selection: {error}")
