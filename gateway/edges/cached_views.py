"""(Admission, CachedAnswer) -> what its client gets of it: own jobs, a content coding, or 304.

Whatever is made of an entry is made once, and kept with it. Other answers go through untouched.
"""

from collections.abc import Hashable
from typing import Protocol

from gateway.edges.cache_counts import CacheCounts
from gateway.edges.cache_entries import Entry, View
from gateway.edges.cached_answer import CachedAnswer, Lent, plain_answer
from gateway.edges.cached_reads import tag_of
from gateway.edges.codings import AT_ONCE_BYTES, ENCODERS
from gateway.edges.few_threads import FewThreads
from gateway.edges.one_flight import OneFlight
from gateway.edges.selected_answers import (
    index_of,
    put_in,
    refusal,
    select_indexed,
    select_streamed,
    selection_of,
)
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission
from gateway.slurm_api.list_index import ListIndex
from gateway.stages.cache import Found, Sighting, has_tag, told_headers
from gateway.stages.forward import AnswerHead, own_head, with_length

_OK = 200
_NOT_MODIFIED = 304
_LEAST_CODED_BYTES = 1024
"""Shorter bodies fit into a packet as they are."""
_WORK_SECONDS = 30.0
_MOST_VIEWS = 256
"""Of one entry; further ones are made for each who asks."""
_VIEW_BYTES = 1024
_SUFFIX = {"": "", "zstd": "-z", "gzip": "-g"}
"""A coding makes another representation, whose tag is another (RFC 9110 section 8.8.3.3)."""


class FilterAnswer(Protocol):
    """An answer without the jobs of others. Raises Denied or UpstreamFailed."""

    async def __call__(self, admission: Admission, answer: Answer, /) -> Answer: ...


class CachedViews:
    """Codings of long bodies are made in one thread, so that they never take more than one processor."""

    def __init__(self, only_own_jobs: FilterAnswer, counts: CacheCounts | None = None) -> None:
        self._only_own_jobs = only_own_jobs
        self._counts = counts or CacheCounts()
        self._threads = FewThreads(1)
        self._viewing: OneFlight[tuple[Entry, Hashable], View] = OneFlight()
        self._indexing: OneFlight[View, ListIndex] = OneFlight()
        self._coding: OneFlight[tuple[View, str], None] = OneFlight()

    async def own_jobs(self, admission: Admission, answer: Answer) -> Answer:
        """See FilterAnswer."""
        if not isinstance(answer, CachedAnswer):
            return await self._only_own_jobs(admission, answer)
        user = admission.user
        key = ("own jobs", admission.call.operation.name, user.name, user.uid)
        lent = answer.lent
        view = lent.entry.views.get(key)
        if view is None:
            view = await self._viewing.join(
                (lent.entry, key), lambda: self._own_view(admission, lent.again(), key)
            )
        return _viewed(answer, view)

    async def _own_view(self, admission: Admission, lent: Lent, key: Hashable) -> View:
        whole = plain_answer(lent)
        try:
            filtered = await self._only_own_jobs(admission, whole)
            await filtered.read_all(filtered.head.length)
            body = filtered.whole or b""
            lent.entry.views[key] = view = View(body, tag_of(body))
            lent.grow(len(body))
        finally:
            whole.close()
        return view

    async def select(self, admission: Admission, answer: Answer) -> Answer:
        """See FilterAnswer. Of what is left after the filter above, if there was one."""
        if not isinstance(answer, CachedAnswer):
            return await select_streamed(admission, answer)
        user, base, lent = admission.user, answer.view, answer.lent
        key = ("selected", base.tag, selection_of(admission), user.name, user.uid)
        view = lent.entry.views.get(key)
        if view is None:
            view = await self._viewing.join(
                (lent.entry, key), lambda: self._selected(admission, lent.again(), base, key)
            )
        return _viewed(answer, view)

    async def _selected(self, admission: Admission, lent: Lent, base: View, key: Hashable) -> View:
        try:
            index = base.index or await self._indexing.join(
                base, lambda: self._index(admission, lent.again(), base)
            )
            page = await select_indexed(admission, index)
            body = put_in(index.body, index.begin, index.end, page)
            view = View(body, tag_of(body), page.headers)
            if len(lent.entry.views) < _MOST_VIEWS:
                lent.entry.views[key] = view
                lent.grow(len(body) + _VIEW_BYTES)
        except ValueError as error:
            raise refusal(error) from None
        finally:
            lent.give_back()
        return view

    async def _index(self, admission: Admission, lent: Lent, base: View) -> ListIndex:
        """One parse for everybody who wants parts."""
        try:
            index = await index_of(admission, base.body)
            base.index = index
            lent.grow(index.size)
            return index
        finally:
            lent.give_back()

    async def finish(self, admission: Admission, answer: Answer) -> Answer:
        """As it goes out."""
        if not isinstance(answer, CachedAnswer):
            return answer
        wish = admission.request.cache_wish
        coding, view = "" if wish is None else wish.coding, answer.view
        if coding and len(view.body) >= _LEAST_CODED_BYTES and coding not in view.forms:
            lent = answer.lent
            await self._coding.join((view, coding), lambda: self._code(lent.again(), view, coding))
        final = ready(admission, answer)
        if final.head.status == _NOT_MODIFIED:
            self._counts.not_modified += 1
        return final

    async def _code(self, lent: Lent, view: View, coding: str) -> None:
        """A body that does not come out shorter goes out as it is."""
        encode, body = ENCODERS[coding], view.body
        try:
            if len(body) <= AT_ONCE_BYTES[coding]:
                coded = encode(body)
            else:
                coded = await self._threads.run(_WORK_SECONDS, lambda: encode(body))
            is_shorter = len(coded) < len(body)
            view.forms[coding] = coded if is_shorter else None
            lent.grow(len(coded) if is_shorter else 0)
        except (TimeoutError, OSError):
            return  # no thread: it goes out as it is, and the next client tries again
        finally:
            lent.give_back()


def ready(admission: Admission, answer: CachedAnswer) -> CachedAnswer:
    """The same in the best form that is there now; the given answer is closed."""
    request, view, lent = admission.request, answer.view, answer.lent
    wish = request.cache_wish
    coding = "" if wish is None else wish.coding
    coded = view.forms.get(coding)
    body, coding = (view.body, "") if coded is None else (coded, coding)
    sighting = answer.sighting
    tag = f'{view.tag[:-1]}{_SUFFIX[coding]}"'
    if request.if_none_match and has_tag(request.if_none_match, tag):
        body = b""
        told = (*told_headers(b"", tag, "", sighting), *view.headers)
        head = own_head(_NOT_MODIFIED, 0, told)
    else:
        head = _head(lent.entry, view, (coding, tag, len(body)), sighting)
    final = CachedAnswer(head, body, lent.again(), view, sighting)
    final.seconds = answer.seconds
    answer.close()
    return final


def _head(entry: Entry, view: View, form: tuple[str, str, int], sighting: Sighting) -> AnswerHead:
    """Of 200. What is said of an answer from memory changes once a second."""
    whole_seconds = int(sighting.age_seconds), int(sighting.ttl_seconds)
    key = (form, whole_seconds, sighting.detail) if sighting.found is Found.HIT else None
    last = view.last_head
    if last is not None and last[0] == key:
        return last[1]
    coding, tag, length = form
    told = told_headers(entry.kind, tag, coding, sighting)
    head = own_head(_OK, length, (*told, *view.headers))
    if key is not None:
        view.last_head = (key, head)
    return head


def _viewed(answer: CachedAnswer, view: View) -> CachedAnswer:
    """The same answer, of which another part is shown."""
    head = with_length(answer.lent.entry.head, len(view.body))
    shown = CachedAnswer(head, view.body, answer.lent.again(), view, answer.sighting)
    shown.seconds = answer.seconds
    answer.close()
    return shown
