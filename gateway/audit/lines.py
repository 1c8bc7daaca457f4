"""AuditRecord -> what its lines say, as members of a JSON object in ASCII.

Written by hand and not by a JSON library, because whatever two lines have in common, and whatever is the
same for all requests of one identity or call, is rendered once: the two lines of a request cost what one
did before. Everything outside ASCII is escaped, so that no line can disturb a terminal.
"""

import json
import time
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Final
from urllib.parse import quote

from gateway.model import AuditRecord, AuthorizedCall, ClusterUser, Identity, InboundRequest, Target

_MAXIMUM_TARGET = 2048
_MAXIMUM_TEXT = 512
_REDACTED = "REDACTED"
_MOST_REMEMBERED = 4096
WHO: Final = (
    "request_id", "cluster", "issuer", "subject", "client_id", "token_hash", "acr", "amr", "auth_time",
    "user", "roles", "client_address", "forwarded_for", "method", "operation", "target",
)  # fmt: skip
"""What both lines of a request have in common, besides the time."""
_NOBODY: Final = (
    '"issuer":"","subject":"","client_id":"","token_hash":{},"acr":"","amr":[],"auth_time":"",'
    '"user":"","roles":[]'
)
_MOST_METHODS: Final = 8
_MAXIMUM_METHOD: Final = 64
"""RFC 8176 has names of up to six characters; a site's own may be longer."""


class Moments:
    """RFC 3339 in UTC, to the microsecond. The part up to the second is written once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, seconds: float) -> str:
        """A moment, given in seconds since the epoch."""
        whole = int(seconds)
        if whole != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._second = whole
        return f"{self._text}.{int((seconds - whole) * 1_000_000):06d}Z"


class Lines:
    """Renders for one cluster. What is remembered is bounded, and forgotten all at once."""

    def __init__(self, cluster: str, listed_query_values: frozenset[str]) -> None:
        self._cluster = f'","cluster":{quoted(cluster)},'
        self._listed = listed_query_values
        self._moment = Moments().text
        self._who: dict[Identity, tuple[ClusterUser | None, str]] = {}
        self._what: dict[int, tuple[AuthorizedCall, Target, str]] = {}

    def begin(self, record: AuditRecord) -> str:
        """The first line of an admitted request: who, what, verdict. Kept in the record for the second."""
        wording = record.wording
        if wording is None:
            record.wording = wording = self._word(record)
        record.opened = opened = (
            f'"time":"{self._moment(record.time)}","request_id":"{record.request_id}{wording[0]}'
        )
        return f'"event":"begin",{opened}{wording[1]}'

    def end_of_repeat(self, record: AuditRecord) -> str:
        """As `end`, of a read that was answered well and whole, and of which there is nothing else to say."""
        if record.wording is None:
            return self.end(record)
        _, _, verdict, jobs = record.wording
        return (
            f'"event":"end",{record.opened}{verdict}{record.status}{jobs}{record.bytes_out},'
            f'"upstream_ms":{record.upstream_seconds * 1000:.3f},'
            f'"total_ms":{record.total_seconds * 1000:.3f},"complete":true'
        )

    def end(self, record: AuditRecord) -> str:
        """The last line of a request, or the only one: everything."""
        verdict = "granted" if record.granted else "denied"
        event = "end" if record.opened or record.granted else "denied"
        return (
            f'"event":"{event}",{record.opened or self._common(record)},"verdict":"{verdict}",'
            f'"code":{quoted(record.code)},"rule":{quoted(record.rule)},'
            f'"note":{quoted(_cut(record.note))},"status":{record.status},'
            f'"body_sha256":"{record.body_sha256}","slurm_errors":{_list(record.slurm_errors)},'
            f'"job_ids":{_list(record.job_ids or _asked_job_ids(record))},"bytes_in":{record.bytes_in},'
            f'"bytes_out":{record.bytes_out},"upstream_ms":{record.upstream_seconds * 1000:.3f},'
            f'"total_ms":{record.total_seconds * 1000:.3f},'
            f'"complete":{"true" if record.complete else "false"}'
        )

    def _word(self, record: AuditRecord) -> tuple[str, str, str, str]:
        """(who and what, the rest of the first line; up to the status, from there to the bytes of the last)."""
        rule, body = quoted(record.rule), f'"body_sha256":"{record.body_sha256}"'
        jobs = f'"job_ids":{_list(_asked_job_ids(record))},"bytes_in":{record.bytes_in}'
        return (
            self._who_and_what(record),
            f',"verdict":"granted","rule":{rule},{body},{jobs}',
            f',"verdict":"granted","code":"","rule":{rule},"note":"","status":',
            f',{body},"slurm_errors":[],{jobs},"bytes_out":',
        )

    def _common(self, record: AuditRecord) -> str:
        moment, rest = self._moment(record.time), self._who_and_what(record)
        return f'"time":"{moment}","request_id":"{record.request_id}{rest}'

    def _who_and_what(self, record: AuditRecord) -> str:
        who, what = self._named(record), self._asked(record)
        return (
            f'{self._cluster}{who},"client_address":{quoted(record.client_address)},'
            f'"forwarded_for":{quoted(_cut(record.forwarded_for))},{what}'
        )

    def _named(self, record: AuditRecord) -> str:
        identity, user = record.identity, record.user
        if identity is None:
            return _NOBODY.format(quoted(record.token_hash))
        known = self._who.get(identity)
        if known is not None and known[0] is user:
            return known[1]
        text = _who(identity, user)
        if len(self._who) >= _MOST_REMEMBERED:
            self._who.clear()
        self._who[identity] = (user, text)
        return text

    def _asked(self, record: AuditRecord) -> str:
        call, request = record.call, record.request
        if call is None or request is None:
            return self._described(record)
        known = self._what.get(id(call))  # held, so that the id stays this call's
        if known is not None and known[0] is call and known[1] == request.target:
            return known[2]
        text = self._described(record)
        if len(self._what) >= _MOST_REMEMBERED:
            self._what.clear()
        self._what[id(call)] = (call, request.target, text)
        return text

    def _described(self, record: AuditRecord) -> str:
        operation = record.call.operation.name if record.call else ""
        target = shown_target(record, self._listed)
        return (
            f'"method":{quoted(_cut(record.method))},"operation":{quoted(operation)},'
            f'"target":{quoted(target)}'
        )


def event_body(event: str, moment: str, facts: Mapping[str, object]) -> str:
    """The members of a line that is about the audit or the gateway itself."""
    members = {"event": event, "time": moment, **facts}
    return json.dumps(members, separators=(",", ":"))[1:-1]


def _asked_job_ids(record: AuditRecord) -> tuple[str, ...]:
    """The jobs that the request names, whatever became of it."""
    return record.call.job_ids if record.call else ()


def _who(identity: Identity, user: ClusterUser | None) -> str:
    return (
        f'"issuer":{quoted(identity.issuer)},"subject":{quoted(_cut(identity.subject))},'
        f'"client_id":{quoted(_cut(identity.client_id))},'
        f'"token_hash":{quoted(identity.token_hash)},{_signed_in(identity)},"user":{quoted(user.name if user else "")},'
        f'"roles":{_list(user.roles if user else ())}'
    )


def _signed_in(identity: Identity) -> str:
    """How and when, as far as the provider said so: `acr`, `amr` and `auth_time` of its claims."""
    claimed, at = identity.claims.get("amr"), identity.auth_time
    methods = claimed if isinstance(claimed, list) else []
    shown = [_cut(one, _MAXIMUM_METHOD) for one in methods if isinstance(one, str)]
    moment = "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return (
        f'"acr":{quoted(_cut(identity.acr))},"amr":{_list(tuple(shown[:_MOST_METHODS]))},'
        f'"auth_time":"{moment}"'
    )


def _cut(text: str, most: int = _MAXIMUM_TEXT) -> str:
    """The text, or its beginning and how many characters are left out."""
    return text if len(text) <= most else f"{text[:most]}[+{len(text) - most}]"


def _list(texts: tuple[str, ...]) -> str:
    return f"[{','.join(map(quoted, texts))}]" if texts else "[]"


def shown_target(record: AuditRecord, listed: frozenset[str]) -> str:
    """The target with the values of unlisted query parameters redacted; none of a query never parsed."""
    if record.request is None:
        path, mark, _ = record.raw_target.partition("?")
        shown = quote(path, safe="/%[],+:@=;\\#")
        return _cut(shown + mark + (_REDACTED if mark else ""), _MAXIMUM_TARGET)
    if not record.request.target.query:
        return _cut(record.request.target.path, _MAXIMUM_TARGET)
    return _cut(_shown_parsed(record.request, listed), _MAXIMUM_TARGET)


def _shown_parsed(request: InboundRequest, listed: frozenset[str]) -> str:
    pairs = (
        f"{name}={value if name in listed else _REDACTED}" for name, value in request.target.query
    )
    return f"{request.target.path}?{'&'.join(pairs)}"
