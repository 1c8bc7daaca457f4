"""The nouns of the gateway: what each stage hands to the next. Frozen values, standard library only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Literal, NamedTuple, Protocol

Clock = Callable[[], float]
"""Seconds since the epoch, as `time.time` gives them."""


class Secret:
    """A text that no repr, log or error shows; `reveal` is the one way to read it."""

    __slots__ = ("_digest", "reveal")

    def __init__(self, reveal: str) -> None:
        self.reveal = reveal
        self._digest: bytes | None = None

    def digest(self) -> bytes:
        """Its SHA-256, made once: a client that polls presents the same text again and again."""
        if self._digest is None:
            self._digest = sha256(self.reveal.encode("utf-8", "surrogatepass")).digest()
        return self._digest

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")


class Target(NamedTuple):
    """The canonical request target. Made only by receive.

    `path` begins with "/", has no empty or dot segment and no trailing slash; its segments and
    `query`, in order and without duplicate names, are percent-decoded printable ASCII.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()


class Browser(NamedTuple):
    """What a browser says of itself: its session, if any, and what caused the request.

    `site` is Sec-Fetch-Site, empty where it was not sent; `origin` is Origin, the same.
    """

    session: Secret | None
    site: str
    navigates: bool
    origin: str


class CacheWish(NamedTuple):
    """How the client takes an answer that need not be asked for anew.

    `coding` is a content coding, "" for none; `maximum_age_seconds` is None where any age will do.
    """

    coding: str = ""
    maximum_age_seconds: float | None = None


class InboundRequest(NamedTuple):
    """One request after receive. `length` is None for a chunked body and 0 for none."""

    request_id: str
    method: str
    target: Target
    bearer: Secret | None
    accept: str
    length: int | None
    media_type: str
    expects_continue: bool
    client_address: str
    forwarded_for: str
    idempotency_key: str = ""
    browser: Browser | None = None
    """None where nobody can sign in, and for clients that are no browser."""
    if_none_match: str = ""
    cache_wish: CacheWish | None = None
    """None where nothing is kept."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Identity:
    """Who the identity provider says this is; nobody on the cluster yet. Made only by authenticate.

    Times are seconds since the epoch. `subject` is empty for a machine token without `sub`.
    `token_hash` is keyed, for the audit. `claims` are the verified claims.
    """

    issuer: str
    subject: str
    client_id: str
    kind: Literal["user", "machine"]
    groups: tuple[str, ...]
    issued_at: float
    expires: float
    token_hash: str
    token_id: str = ""
    acr: str = ""
    auth_time: float | None = None
    claims: Mapping[str, object] = field(default_factory=dict, repr=False)
    key: tuple[str, str] = field(init=False, repr=False)
    """What limits and fair shares count by: the subject, or the client of a machine token."""

    def __post_init__(self) -> None:
        """Written once, because an Identity is remembered for as long as its token."""
        counted = self.subject or f"\x00{self.client_id}"  # no subject has control characters
        object.__setattr__(self, "key", (self.issuer, counted))


@dataclass(frozen=True, slots=True)
class ClusterUser:
    """The account that Slurm sees; never root, never Slurm's own user. Made only by map_user.

    `roles` always contains "user". `uid`, `gid` are None where NSS was not asked.
    """

    name: str
    roles: tuple[str, ...]
    rule: str = ""
    uid: int | None = None
    gid: int | None = None


class Risk(StrEnum):
    """What an operation may do to the cluster or reveal of it."""

    __hash__ = str.__hash__  # the enum's own is Python code, and every stage looks a class up

    READ = "READ"
    READ_HEAVY = "READ-HEAVY"
    READ_ACCOUNTING = "READ-ACCOUNTING"
    READ_SENSITIVE = "READ-SENSITIVE"
    READ_BULK = "READ-BULK"
    SUBMIT = "SUBMIT"
    ALLOCATE = "ALLOCATE"
    JOB_WRITE = "JOB-WRITE"
    JOB_WRITE_BULK = "JOB-WRITE-BULK"
    ACCT_JOB_WRITE = "ACCT-JOB-WRITE"
    ADMIN = "ADMIN"
    UTIL = "UTIL"
    MINT_TOKEN = "MINT-TOKEN"  # noqa: S105 (a class of operations)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of slurmrestd. `template` has `{version}` where the API version stands."""

    method: str
    template: str
    risk: Risk
    changes_state: bool
    takes_body: bool
    summary: str = ""
    name: str = field(init=False)
    """As the configuration writes it: "POST /slurm/*/job/submit"."""

    def __post_init__(self) -> None:
        """Written once, because every request's record holds it."""
        name = f"{self.method} {self.template.replace('{version}', '*')}"
        object.__setattr__(self, "name", name)


class Selection(NamedTuple):
    """What a client wants of a list. Made only by authorize, from the parameters `gateway.`.

    `operation` is Operation.name; no `fields` means whole items, `limit` 0 all of them. `wanted` has the
    values that will do for each filter; `cursor` is a place and the name of the item before it.
    """

    operation: str
    fields: tuple[tuple[str, ...], ...] = ()
    wanted: tuple[tuple[str, frozenset[str]], ...] = ()
    limit: int = 0
    cursor: tuple[int, str] | None = None


class AuthorizedCall(NamedTuple):
    """What will be asked of slurmrestd. Made only by authorize.

    `target` is rebuilt from the template and the checked parameters and goes out byte for byte;
    `risk` is the operation's class, raised where a parameter asks for more; `rule` allowed it.
    """

    operation: Operation
    version: str
    target: bytes
    risk: Risk
    rule: str
    job_ids: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    """The caller's roles that allow it, in their order."""
    has_body_rules: bool = False
    """The body has to be looked at before it is forwarded."""
    own_jobs_only: bool = False
    """The call reaches jobs, and may reach the caller's own alone."""
    selection: Selection | None = None


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamCredential:
    """The user name and token for slurmrestd. Made only by credential, and told apart by identity.

    One token may serve several users (impersonation), so connections are told apart by both.
    `is_callers`: the caller's own token, so that its refusal says nothing about the gateway.
    """

    user: str
    token: Secret
    is_callers: bool = False


class Lease(Protocol):
    """A share of something that is counted; given back exactly once."""

    def release(self) -> None: ...


class NoLease:
    """Of nothing: for what does without."""

    def release(self) -> None:
        """Nothing is given back."""


class Beside(Protocol):
    """What is brought to disk while the request's records are; whatever it is, both are waited for."""

    def drop(self) -> None:
        """The request is not going to be sent."""
        ...

    async def wait(self) -> None:
        """Until it is on disk, or cannot be. Never raises."""
        ...


class Body(Protocol):
    """A whole request body, in memory or in an unlinked file; read once, in order, then closed."""

    @property
    def length(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def read(self, size: int, /) -> bytes: ...

    def rewind(self) -> None: ...

    def close(self) -> None: ...


class Admission(NamedTuple):
    """A head that every stage before the body has let through."""

    request: InboundRequest
    identity: Identity
    user: ClusterUser
    call: AuthorizedCall
    lease: Lease


class Grant(NamedTuple):
    """Everything that forward needs. `slot` is the right to one upstream connection, or a NoLease.

    `beside` is what was begun while the first record was written; it goes on when this is sent.
    """

    admission: Admission
    body: Body | None
    credential: UpstreamCredential
    slot: Lease
    beside: Beside | None = None


@dataclass(init=False)
class AuditRecord:
    """What becomes of one request: the only value that changes, filled as the request moves.

    Nothing but the first fields is written beforehand: what is not known stands in the class.
    """

    request_id: str
    time: float
    method: str = ""
    raw_target: str = ""
    client_address: str = ""
    forwarded_for: str = ""
    request: InboundRequest | None = None
    token_hash: str = ""
    identity: Identity | None = None
    user: ClusterUser | None = None
    call: AuthorizedCall | None = None
    granted: bool = False
    code: str = ""
    rule: str = ""
    note: str = ""
    status: int = 0
    body_sha256: str = ""
    slurm_errors: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_seconds: float = 0.0
    total_seconds: float = 0.0
    complete: bool = False
    opened: str = ""
    """What its first line in the audit says of it; empty where none was written."""
    wording: tuple[str, str, str, str] | None = None
    """What the lines of its repeats say too; see gateway.audit.lines."""
    beside: Beside | None = None

    def __init__(
        self, request_id: str, time: float, method: str = "", raw_target: str = ""
    ) -> None:
        self.request_id = request_id
        self.time = time
        self.method = method
        self.raw_target = raw_target

    def again(self, request_id: str, time: float) -> "AuditRecord":
        """The same of another request, copied at once."""
        twin = AuditRecord.__new__(AuditRecord)
        twin.__dict__ = own = self.__dict__.copy()
        own["request_id"], own["time"] = request_id, time
        return twin
