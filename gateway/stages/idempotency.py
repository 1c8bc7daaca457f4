"""(submission with an Idempotency-Key, what is remembered of the key) -> what may be done now. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, Protocol

from gateway.denial import Denied, Reason
from gateway.model import Admission, AuthorizedCall, InboundRequest, Risk

MarkerField = Literal["comment", "extra"]
FIRST_WITH_EXTRA: Final = 40
"""v0.0.36 to v0.0.38 refuse a job with `extra`; v0.0.40 and later keep and list it (20.11 to 26.05)."""

_JSON: Final = "application/json"
_FIRST_ERROR_STATUS: Final = 400
_FIRST_SERVER_ERROR_STATUS: Final = 500
_CONCLUSIVE_CODES: Final = (range(2000, 5000), range(6000, 1_000_000))
"""Slurm's own errors about the job. Below and between are errno, communication and socket errors, after
which slurmctld may have taken the job all the same (slurm_errno.h: 1000-1999 and 5000-5999)."""


class StoredAnswer(NamedTuple):
    """What a key's request was answered. `job_id` is set where the job was found instead."""

    status: int
    media_type: str
    body: bytes
    job_id: int = 0


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What is remembered of one key; plain values, so that any store can keep it.

    `key_hash` names identity, operation and key. `fingerprint` is of what was asked for. `begun` and
    `expires` are seconds since the epoch; `holder` is the process that sent the request last. Without
    `answer` the request was begun, and whether it ran is not known unless its holder still knows.
    """

    key_hash: str
    identity_hash: str
    fingerprint: str
    marker: str
    user: str
    request_id: str
    holder: str
    begun: float
    expires: float
    answer: StoredAnswer | None = None


class KeysExceeded(Exception):
    """The identity, or all together, have as many keys as the store takes."""


class KeyStoreDoubt(Exception):
    """The store cannot be read or written, so nothing may be sent on its word."""


class Caps(NamedTuple):
    """How many keys one identity and all together may have."""

    each: int
    in_all: int


class Sending(NamedTuple):
    """With which marker, by which process and when (seconds since the epoch)."""

    marker: str
    holder: str
    begun: float


class KeyStore(Protocol):
    """Keys and answers. Whatever a method returns from is durable."""

    async def begin(self, fresh: KeyEntry, now: float, caps: Caps) -> KeyEntry:
        """The unexpired entry of this key, or `fresh` itself, which is remembered then.

        Raises KeysExceeded, KeyStoreDoubt.
        """
        ...

    async def begin_again(self, entry: KeyEntry) -> None:
        """Replace the entry of this key: it is going to be sent once more."""
        ...

    async def finish(self, key_hash: str, answer: StoredAnswer) -> None:
        """Remember the answer."""
        ...

    async def forget(self, key_hash: str) -> None:
        """The request has certainly not run: the key is free again."""
        ...

    async def purge(self, now: float) -> int:
        """Delete what has expired; how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What is promised, in seconds."""

    keep_seconds: float
    wait_seconds: float
    marker_field: MarkerField
    maximum_answer_bytes: int
    caps: Caps


class CheckKey:
    """A key where it means nothing is refused on a write: nobody shall retry on a promise never made."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled

    def __call__(self, request: InboundRequest, call: AuthorizedCall) -> None:
        """Raises Denied(IDEMPOTENCY_KEY_UNSUPPORTED, MEDIA_TYPE_UNSUPPORTED). Reads may be repeated anyway."""
        if not call.operation.changes_state:
            return
        if not takes_key(call):
            raise Denied(Reason.IDEMPOTENCY_KEY_UNSUPPORTED, call.operation.name)
        if not self._enabled:
            what = "Idempotency-Keys are switched off here; send the request without one."
            raise Denied(Reason.IDEMPOTENCY_KEY_UNSUPPORTED, "switched off", detail=what)
        if request.media_type != _JSON:
            what = "With an Idempotency-Key the body must be application/json."
            raise Denied(Reason.MEDIA_TYPE_UNSUPPORTED, detail=what, headers=(("Accept", _JSON),))


def field_for(call: AuthorizedCall, wanted: MarkerField) -> MarkerField:
    """Where the marker goes in this API version; every version has `comment`."""
    is_older = int(call.version.rpartition(".")[2]) < FIRST_WITH_EXTRA
    return "comment" if is_older else wanted


def takes_key(call: AuthorizedCall) -> bool:
    """Whether this is the one operation that keys are kept for."""
    return call.operation.risk is Risk.SUBMIT


def fresh_entry(
    admission: Admission, body_sha256: str, sending: Sending, keep_seconds: float
) -> KeyEntry:
    """The entry of a key that is used for the first time. Only hashes of who and what are kept."""
    issuer, subject = admission.identity.key
    call, request = admission.call, admission.request
    return KeyEntry(
        key_hash=_hash("key", issuer, subject, call.operation.name, request.idempotency_key),
        identity_hash=_hash("identity", issuer, subject),
        fingerprint=_hash("request", call.target.decode("latin-1"), body_sha256),
        marker=sending.marker,
        user=admission.user.name,
        request_id=request.request_id,
        holder=sending.holder,
        begun=sending.begun,
        expires=sending.begun + keep_seconds,
    )


def begun_again(entry: KeyEntry, fresh: KeyEntry) -> KeyEntry:
    """The same key and marker, sent once more by the request that `fresh` was made for."""
    return replace(
        entry, holder=fresh.holder, begun=fresh.begun, expires=fresh.expires, answer=None
    )


def _hash(*parts: str) -> str:
    """SHA-256 of the parts; their lengths keep two readings apart."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_conclusive(status: int, codes: Sequence[str], job_ids: Sequence[str]) -> bool:
    """Whether an answer of slurmrestd says for certain that the job was taken, or that it was not.

    A 5xx that blames the way to slurmctld says neither: slurmctld may have taken the job, and its
    word been lost. 20.11 and 22.05 say "Unspecified error" (-1) then, as they do to a bad token.
    """
    if status < _FIRST_ERROR_STATUS and job_ids:
        return True
    if not codes:
        return _FIRST_ERROR_STATUS <= status < _FIRST_SERVER_ERROR_STATUS
    return all(any(int(code) in known for known in _CONCLUSIVE_CODES) for code in codes)
