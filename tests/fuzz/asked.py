"""Any bytes of a request -> the parsers in front of slurmrestd, and what has to hold of whatever they take.

Each function is given one input of the fuzzer. It returns where the input was refused in the documented way,
or where everything that is promised of an accepted one holds; anything else is a finding.
"""

import asyncio
import json
import re
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Identity, Secret, Target
from gateway.request.target import canonical_target
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.field_rules import is_environment
from gateway.slurm_api.fields import JOBS, folded, read_fields
from gateway.slurm_api.selection import PREFIX
from gateway.stages.authenticate import Authenticate
from gateway.stages.authorize import Authorize
from gateway.stages.body_rules import BodyRules
from gateway.token.form import read_token
from gateway.token.refused import TokenRefused
from gateway.users.accounts import is_user_name
from gateway.users.rows import read_user_rows
from gateway.users.rules import FromClaim, Unmapped
from tests.fakes import ISSUER, make_identity, make_request
from tests.security.test_bodies import CORPUS as BODIES
from tests.security.test_bodies import RULED
from tests.tokens import (
    FakeKeys,
    as_segment,
    b64,
    make_stage,
    make_token,
    public_jwk,
    trusted_issuer,
)
from tests.unit.stages.test_authorize import ALLOWING, ask
from tests.unit.web.test_http_protocol import Connection, settle

T = TypeVar("T")
METHODS = ("GET", "POST", "DELETE")
TOKEN_BYTES = 16_384
_WRITTEN = re.compile(rb"/[A-Za-z0-9._~/%-]*(?:\?[A-Za-z0-9._~=&%-]+)?")
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


@cache
def runner() -> asyncio.Runner:
    return asyncio.Runner()


# target


def target(data: bytes) -> None:
    """What is taken is a fixed point, and what is then admitted says the same to whoever reads it again."""
    try:
        found = canonical_target(data)
    except Denied:
        return
    segments = found.path.split("/")[1:] if found.path != "/" else []
    assert not {"", ".", ".."} & set(segments)
    for text, unwanted in (("".join(segments), "?#%;\\{}"), (str(found.query), "%;#&")):
        assert text.isascii()
        assert text.isprintable()
        assert not set(unwanted) & set(text)
    path = "/".join(quote(segment, safe="") for segment in found.path.split("/"))
    fields = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in found.query]
    again = path + ("?" + "&".join(fields) if fields else "")
    assert canonical_target(again.encode()) == found
    for method in METHODS:
        with suppress(Denied):
            _assert_admitted(method, found, ask(ALLOWING, method, found.path, found.query))


def _assert_admitted(method: str, found: Target, call: AuthorizedCall) -> None:
    assert _WRITTEN.fullmatch(call.target)
    path, _, query = call.target.decode("ascii").partition("?")
    assert unquote(path) == found.path
    read: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        read.setdefault(name, []).append(value)
    again = tuple((name, ",".join(values)) for name, values in read.items())
    onward = [pair for pair in found.query if not pair[0].startswith(PREFIX)]
    assert again == tuple(sorted(onward))
    assert (call.selection is None) is (len(onward) == len(found.query))
    assert ask(ALLOWING, method, unquote(path), again) == call._replace(selection=None)


# header


def header(data: bytes) -> None:
    """(place of a cut, a connection's bytes): one reading however it is cut, and clean fields only."""
    cut, raw = data[:1], data[1:]
    place = (cut or b"\0")[0] * len(raw) // 255
    whole = runner().run(_read([raw]))
    assert whole == runner().run(_read([raw[:place], raw[place:]]))


async def _read(pieces: list[bytes]) -> object:
    connection = Connection()
    await connection.feed(*[piece for piece in pieces if piece])
    deeds = [*connection.transport.deeds]
    if not connection.transport.is_closing():
        connection.transport.close()
    await settle()
    for scope in connection.scopes:
        assert scope["extensions"]["gateway.target"].startswith(b"/")
        for name, value in scope["headers"]:
            assert _FIELD_NAME.fullmatch(name)
            assert _FIELD_VALUE.fullmatch(value)
    scopes = [(s["method"], s["extensions"]["gateway.target"]) for s in connection.scopes]
    classes = [status // 100 for status in connection.statuses]
    return classes, scopes, connection.bodies, len(connection.refusals), deeds


# token


@cache
def _judge() -> Authenticate:
    def trusted(issuer: str) -> Any:
        return trusted_issuer(issuer, FakeKeys(public_jwk("ed:25519")), ["EdDSA"])

    return make_stage(trusted("oidc"), trusted("rfc9068"), trusted("cognito"), cached_tokens=1)


def token(data: bytes) -> None:
    """(0: the text of a token; else: header, NUL and claims that a trusted issuer has signed)."""
    if not data[:1].strip(b"\0"):
        _read_text(data[1:].decode("latin-1"))
        return
    head, _, claims = data[1:].partition(b"\0")
    if not head or not claims:
        return
    _read_text(f"{as_segment(head)}.{as_segment(claims)}.{b64(b'signature')}")
    identity = _identity(make_token(head, claims, "ed:25519", "EdDSA"))
    if identity is not None:
        said = json.loads(claims)
        assert identity.issuer == said["iss"]
        assert identity.subject == said.get("sub", "")
        assert identity.subject or identity.client_id
        assert all(isinstance(group, str) and group for group in identity.groups)
        assert json.loads(head)["alg"] in ("EdDSA", "Ed25519")


def _read_text(text: str) -> None:
    try:
        found = read_token(text, TOKEN_BYTES)
    except TokenRefused:
        return
    assert f"{found.signing_input.decode()}.{b64(found.signature)}" == text
    assert isinstance(found.unverified_claims, dict)
    assert _identity(text) is None, "nobody has signed this"


def _identity(text: str) -> Identity | None:
    try:
        return at_once(_judge()(make_request(bearer=Secret(text))))
    except Denied as denied:
        refusal = denied
    assert refusal.reason is Reason.TOKEN_INVALID
    return None


# mapping


def mapping(data: bytes) -> None:
    """(0: a user table; else four lines: pattern, domain, flags, and a claim as JSON)."""
    if not data[:1].strip(b"\0"):
        _read_table(data[1:].decode("utf-8", "replace"))
        return
    lines = data[1:].decode("utf-8", "replace").split("\n", 3)
    if len(lines) < 4:
        return
    pattern, domain, flags, text = lines
    with suppress(ValueError, RecursionError):
        _map(pattern, domain, flags, json.loads(text))


def _map(pattern: str, domain: str, flags: str, claim: Any) -> None:
    source = FromClaim(
        "c",
        strip_domain=(domain,) if domain else (),
        lowercase="l" in flags,
        pattern=pattern or None,
    )
    identity = make_identity(claims={"c": claim}, kind="machine" if "m" in flags else "user")
    try:
        name = at_once(source(identity))
    except Unmapped:
        return
    assert isinstance(claim, str)
    assert "m" not in flags
    assert name in (claim, claim.lower()) or name in claim or name in claim.lower()
    assert name.isascii()
    assert not name or name.isprintable()
    assert not domain or claim.lower().endswith("@" + domain.lower())
    assert name == at_once(source(identity))


def _read_table(text: str) -> None:
    with suppress(ValueError):
        rows = read_user_rows(text)
        for subject in ("s", "alice"):
            users = rows.users_of(make_identity(subject=subject, issuer=ISSUER))
            assert all(is_user_name(user) for user in users)


# body rule

_CALLS = (("POST", "job/submit"), ("POST", "job/allocate"), ("POST", "job/7"), ("DELETE", "jobs"))


@cache
def _rules() -> tuple[BodyRules, Authorize]:
    rules = {name: role.fields for name, role in RULED.roles.items()}
    stage = BodyRules(rules, None, None, 1 << 24)  # type: ignore[arg-type]  # judge() needs neither
    return stage, Authorize(read_catalogue(), RULED)


@cache
def _forbidden() -> frozenset[str]:
    """Every name, folded, under which the corpus' rules forbid something in a description of a job."""
    fields = read_fields().by_setting
    settings = [name for name in BODIES["rules"]["forbid_fields"] if fields[name].group == JOBS]
    return frozenset(folded(name.text) for one in settings for name in fields[one].names)


def body_rule(data: bytes) -> None:
    """(which operation, a body): two readers agree, and no forbidden name passes in any shape."""
    which, raw = (data[:1] or b"\0")[0], data[1:]
    method, path = _CALLS[which % len(_CALLS)]
    stage, authorize = _rules()
    version = f"v0.0.{41 + which // len(_CALLS) % 5}"
    call = authorize.decide(method, Target(f"/slurm/{version}/{path}"), ("user",))
    quick, patient = (_judged(stage, call, raw, patiently=patiently) for patiently in (False, True))
    assert quick == patient
    if isinstance(quick, str):
        return
    top = json.loads(raw if quick is None else quick)
    assert isinstance(top, dict)
    if path != "jobs":
        assert not _names(top) & _forbidden()


def _judged(
    stage: BodyRules, call: AuthorizedCall, raw: bytes, *, patiently: bool
) -> bytes | str | None:
    """A refusal's code and note, or what would be sent."""
    try:
        return stage.judge(call, raw, patiently=patiently)
    except Denied as denied:
        return f"{denied.reason.code} {denied.note}"


def _names(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_names, value))
    if not isinstance(value, dict):
        return set()
    found = {folded(name) for name in value}
    for name, member in value.items():
        if not is_environment(folded(name)):
            found |= _names(member)
    return found
