"""Identity providers, the user directory, Slurm's key and slurmrestd -> whether they answer as they should."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.app_identity import make_directory, make_keys, make_user_check
from gateway.app_shelf import Shelf
from gateway.app_upstream import Issuing, Surroundings, make_credential, new_upstream
from gateway.commands.reporting import Findings
from gateway.config.authenticate import Authenticate
from gateway.config.credential import Attach, Mint, Passthrough
from gateway.config.forward import Forward
from gateway.config.gateway import Gateway
from gateway.config.map_user import MapUser
from gateway.denial import Denied
from gateway.edges.edited_file import FileUnusable
from gateway.edges.few_threads import FewThreads
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.edges.upstream_pool import Address, ConnectFailed
from gateway.edges.upstream_probe import diag
from gateway.model import ClusterUser, Identity, Secret, UpstreamCredential
from gateway.slurm_api.reading import read_releases
from gateway.stages.credential import CredentialDoubt
from gateway.stages.forward import RequestHead
from gateway.stages.map_user import DirectoryDoubt

_ANSWER_SECONDS = 15.0
"""slurmrestd needs 9 s to say that slurmctld is down."""
_JSON = "application/json"
_MOST_BYTES = 1_048_576
_OK, _NOT_FOUND = 200, 404
_SKEW_SECONDS = 5.0
_WITHOUT_USER = "slurm-gateway check --user NAME makes an authenticated read"


async def check_issuers(section: Authenticate, shelf: Shelf, findings: Findings) -> None:
    """Fetch each issuer's keys."""
    for issuer in section.issuers:
        try:
            keys = make_keys(issuer, shelf)
            found = await keys.keys_for(None)
        except Denied as denied:
            findings.bad(f"{issuer.issuer}: {denied.note}", "nobody of this issuer gets in")
            continue
        except (FileUnusable, OSError) as error:
            findings.bad(f"{issuer.issuer}: {error}")
            continue
        usable = [key for key in found if key.algorithms & set(issuer.algorithms)]
        if usable:
            findings.good(f"{issuer.issuer}: {_keys(usable)} for {', '.join(issuer.algorithms)}")
        else:
            what = f"{issuer.issuer}: {_keys(found)}, but none for the algorithms set"
            findings.bad(what, "compare authenticate.issuers.algorithms with the key set")
        for reason in keys.state().skipped:
            findings.doubt(f"{issuer.issuer}: a key is not used: {reason}")


def _keys(keys: Sequence[object]) -> str:
    return f"{len(keys)} key{'' if len(keys) == 1 else 's'}"


async def check_user(section: MapUser, name: str | None, findings: Findings) -> ClusterUser | None:
    """NSS answers at all; and the user, if one is named, passes what no rule can override."""
    threads = FewThreads(2)
    if name is not None:
        try:
            user = await make_user_check(section, name, threads)(_somebody())
        except Denied as denied:
            findings.bad(f"{name}: {denied.detail} ({denied.note})")
            return None
        findings.good(f"{name} is uid {user.uid}" if user.uid else f"{name} (not looked up)")
        return user
    try:
        lookup = await make_directory(section, threads).lookup("root")
    except DirectoryDoubt as doubt:
        findings.bad(f"the user directory: {doubt}", "see getent passwd and /etc/nsswitch.conf")
        return None
    if lookup.account is None:
        findings.bad("the user directory does not know root", "see /etc/nsswitch.conf")
    else:
        findings.good("the user directory (NSS) answers")
    return None


def _somebody() -> Identity:
    """A caller whose own token ends in an hour."""
    now = time.time()
    return Identity("", "check", "", "user", (), now, now + 3600, "")


async def check_credential(
    gateway: Gateway, environ: Mapping[str, str], findings: Findings
) -> Issuing:
    """The key or token source, where it can be asked without a user."""
    threads = FewThreads(2)
    around = Surroundings(make_directory(gateway.map_user, threads), threads, "Bearer", environ)
    issuing = make_credential(gateway, around)
    try:
        if issuing.try_out is not None:
            await issuing.try_out()
    except CredentialDoubt as doubt:
        findings.bad(f"credential: {doubt}")
        return issuing
    match gateway.credential:
        case Mint(key_file=path):
            findings.good(f"key {path} can be used")
        case Attach(token_file=None, command=command):
            findings.good(f"tokens come from {command[0]}; --user tries it")
        case Attach(token_file=path):
            findings.good(f"tokens come from {path}")
        case Passthrough():
            findings.good("the caller's own tokens are passed on; nothing to try")
    return issuing


async def check_slurmrestd(
    gateway: Gateway, issuing: Issuing, user: ClusterUser | None, findings: Findings
) -> None:
    """It answers, refuses a bad token, and takes a good one. /ping would say yes to both."""
    version = await _check_bad_token(gateway.forward, findings)
    if version is None:
        return
    if user is None:
        findings.doubt("no authenticated read was made", _WITHOUT_USER)
        return
    if isinstance(gateway.credential, Passthrough):
        findings.doubt("with passthrough, only a caller's own token could be tried")
        return
    try:
        credential = await issuing.issue(_somebody(), user, None)
    except Denied as denied:
        findings.bad(f"no credential for {user.name}: {denied.note}")
        return
    await _check_good_token(gateway, version, credential, findings)


async def _check_bad_token(forward: Forward, findings: Findings) -> str | None:
    """The newest API version that is served; None where slurmrestd is not there or not safe."""
    bad = UpstreamCredential("nobody", Secret("not-a-token"))
    try:
        for release in reversed(read_releases()):
            version = f"v0.0.{release.version}"
            status, _ = await ask_diag(forward, version, bad)
            if status == _OK:
                what = f"slurmrestd at {forward.upstream} takes a token that is none"
                findings.bad(what, "run it with -a rest_auth/jwt, and with nothing else")
                return None
            if status != _NOT_FOUND:
                findings.good(f"slurmrestd at {forward.upstream} answers, and refuses a bad token")
                findings.good(f"newest API version: {version}")
                return version
    except (ConnectFailed, UpstreamFailed) as error:
        remedy = "is slurmrestd running there, and may this user connect?"
        findings.bad(f"slurmrestd at {forward.upstream}: {error}", remedy)
        return None
    findings.bad(f"slurmrestd at {forward.upstream} serves no API version that is known here")
    return None


async def _check_good_token(
    gateway: Gateway, version: str, credential: UpstreamCredential, findings: Findings
) -> None:
    before = time.time()
    try:
        status, body = await ask_diag(gateway.forward, version, credential)
    except (ConnectFailed, UpstreamFailed) as error:
        findings.bad(f"reading as {credential.user}: {error}")
        return
    after = time.time()
    if status != _OK:
        remedy = "slurmctld.log has the cause: another key, a user it does not know, or the clock"
        findings.bad(f"reading as {credential.user}: status {status}", remedy)
        return
    findings.good(f"authenticated read of /slurm/{version}/diag as {credential.user}")
    _tell_skew(read_slurm_time(body), before, after, gateway, findings)


def _tell_skew(
    slurm_time: int | None, before: float, after: float, gateway: Gateway, findings: Findings
) -> None:
    if slurm_time is None:
        findings.doubt("slurmctld did not tell its time")
        return
    skew = measure_skew(slurm_time, before, after)
    lifetime = gateway.credential.lifetime_seconds if isinstance(gateway.credential, Mint) else 0
    remedy = "run chrony or ntpd on both machines"
    if lifetime and skew > lifetime / 2:
        findings.bad(f"slurmctld's clock is {skew:.0f} s ahead: tokens end too soon", remedy)
    elif abs(skew) > _SKEW_SECONDS:
        way = "ahead" if skew > 0 else "behind"
        findings.doubt(f"slurmctld's clock is {abs(skew):.0f} s {way}", remedy)
    else:
        findings.good(f"slurmctld's clock agrees within {max(1.0, abs(skew)):.0f} s")


def measure_skew(slurm_time: int, before: float, after: float) -> float:
    """Seconds that slurmctld is ahead. It tells whole seconds, some time between the two moments."""
    if slurm_time > after:
        return slurm_time - after
    if slurm_time + 1 < before:
        return slurm_time + 1 - before
    return 0.0


def read_slurm_time(body: bytes) -> int | None:
    """`statistics.req_time` of diag: slurmctld's own clock in seconds (20.11 to 26.05, measured)."""
    try:
        answer: Any = orjson.loads(body)
        value = answer["statistics"]["req_time"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if isinstance(value, dict):
        value = value.get("number")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


async def ask_diag(
    forward: Forward, version: str, credential: UpstreamCredential
) -> tuple[int, bytes]:
    """(status, body) of one read on a connection of its own. Raises ConnectFailed, UpstreamFailed."""
    upstream = new_upstream(forward)
    head = RequestHead(Address.parse(forward.upstream).host_header)
    try:
        connection = await upstream.pool.open((credential.user, credential.token.reveal))
        answer = await connection.exchange(
            head(diag(version), credential, _JSON), None, _ANSWER_SECONDS
        )
        await answer.read_all(_MOST_BYTES)
        return answer.head.status, answer.whole or b""
    finally:
        await upstream.slurmrestd.close()
