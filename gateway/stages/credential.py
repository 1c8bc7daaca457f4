"""(Identity, ClusterUser, bearer) -> UpstreamCredential: the name and token that slurmrestd takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.denial import Denied, Reason
from gateway.model import Clock, ClusterUser, Identity, Secret, UpstreamCredential
from gateway.slurm_token import SlurmKey, SlurmToken, slurm_user_of
from gateway.users.accounts import NEVER_USERS, Account, is_user_name

MINIMUM_SECONDS_LEFT = 5.0
"""A token that ends sooner may end on its way through slurmrestd and slurmctld."""
REUSE_SECONDS_LEFT = 30.0
"""A minted token is used again while it has this much left, so that its connections stay open."""
MAXIMUM_MINTED = 10_000
_RETRY_AFTER = (("Retry-After", "5"),)


class CredentialDoubt(Exception):
    """The key or token cannot be had. The text says why and what to type, never the secret."""


class SigningKey(Protocol):
    """Slurm's key as it is now: the same object until it changes."""

    async def __call__(self) -> SlurmKey:
        """Raises CredentialDoubt."""


class TokenSource(Protocol):
    """Tokens that something else made."""

    async def __call__(self, user: str) -> SlurmToken:
        """A token for this user, or the one for all, neither verified. Raises CredentialDoubt."""


class UserIds(NamedTuple):
    """Everything that slurmctld would have asked its own directory for."""

    account: Account
    gids: tuple[int, ...]


class DescribeUser(Protocol):
    """The ids of a user, for a slurmctld that has no directory."""

    async def __call__(self, name: str) -> UserIds:
        """Raises CredentialDoubt."""


class HandedOut(NamedTuple):
    """A Slurm token that leaves the gateway, and when it ends, in seconds since the epoch."""

    token: Secret
    expires: int


class _Minted(NamedTuple):
    credential: UpstreamCredential
    expires: int


@dataclass(frozen=True, slots=True)
class MintTerms:
    """What a minted token may be. `leeway_seconds` is by issuer, as authenticate grants it.

    `challenge` is the WWW-Authenticate of a caller whose own token ends too soon.
    """

    lifetime_seconds: float
    leeway_seconds: Mapping[str, float]
    challenge: str
    forbidden_users: frozenset[str] = frozenset()


class Mint:
    """A short-lived HS256 token with Slurm's own key, never outliving the caller's token.

    Claims: `sun`, `iat`, `exp`; with `describe` also `uid`, `gid` and `id` {name, gecos, dir,
    shell, gids}, for use_jwt_client_ids and use_jwt_client_ids_only.
    """

    def __init__(
        self, key: SigningKey, terms: MintTerms, now: Clock, describe: DescribeUser | None = None
    ) -> None:
        self._key = key
        self._terms = terms
        self._now = now
        self._describe = describe
        self._forbidden = NEVER_USERS | terms.forbidden_users
        self._minted: dict[tuple[str, int], _Minted] = {}
        self._minted_with: SlurmKey | None = None

    async def __call__(
        self,
        identity: Identity,
        user: ClusterUser,
        bearer: Secret | None,  # noqa: ARG002 (the Protocol's signature)
    ) -> UpstreamCredential:
        """Denied: token-expiring, credential-unavailable, user-forbidden."""
        now = self._now()
        cap = self._cap(identity, now)
        key = await self._live_key()
        if key is not self._minted_with:
            self._minted, self._minted_with = {}, key
        minted = self._reusable(user.name, cap, now)
        if minted is None:
            minted = await self._mint(key, user, cap, now)
        return minted.credential

    async def hand_out(
        self, identity: Identity, user: ClusterUser, lifetime_seconds: float
    ) -> HandedOut:
        """A token for the user to keep: made anew, and remembered nowhere. Denied as for a call."""
        now = self._now()
        expires = min(int(now + lifetime_seconds), self._cap(identity, now))
        key = await self._live_key()
        return HandedOut(key.sign(await self._claims(user, now, expires)), expires)

    def _cap(self, identity: Identity, now: float) -> int:
        """When the caller's own token ends, and with it whatever is made for them."""
        cap = int(identity.expires + self._terms.leeway_seconds.get(identity.issuer, 0.0))
        if cap - now < MINIMUM_SECONDS_LEFT:
            raise _expiring(cap - now, self._terms.challenge)
        return cap

    async def _live_key(self) -> SlurmKey:
        try:
            return await self._key()
        except CredentialDoubt as doubt:
            raise _unavailable(doubt) from doubt

    def _reusable(self, name: str, cap: int, now: float) -> _Minted | None:
        """A token within this caller's cap: one of full lifetime, or one made for this very cap."""
        for slot in ((name, 0), (name, cap)):
            minted = self._minted.get(slot)
            if (
                minted is not None
                and minted.expires <= cap
                and minted.expires - now >= REUSE_SECONDS_LEFT
            ):
                return minted
        return None

    async def _mint(self, key: SlurmKey, user: ClusterUser, cap: int, now: float) -> _Minted:
        full = int(now + self._terms.lifetime_seconds)
        expires = min(full, cap)
        claims = await self._claims(user, now, expires)
        minted = _Minted(UpstreamCredential(user.name, key.sign(claims)), expires)
        if key is self._minted_with:
            if len(self._minted) >= MAXIMUM_MINTED:
                del self._minted[next(iter(self._minted))]
            self._minted[user.name, 0 if full <= cap else cap] = minted
        return minted

    async def _claims(self, user: ClusterUser, now: float, expires: int) -> dict[str, object]:
        _refuse_forbidden(user.name, self._forbidden)
        claims: dict[str, object] = {"sun": user.name, "iat": int(now), "exp": expires}
        if self._describe is not None:
            claims |= await self._id_claims(user, self._describe)
        return claims

    async def _id_claims(self, user: ClusterUser, describe: DescribeUser) -> dict[str, object]:
        try:
            ids = await describe(user.name)
        except CredentialDoubt as doubt:
            raise _unavailable(doubt) from doubt
        account = ids.account
        if account.uid != user.uid:
            # map_user checked the uid that it saw; another one would be a claim nobody checked.
            raise _unavailable(f"{user.name} is uid {account.uid} now, and was {user.uid}")
        # 26.05 refuses an id whose name, gecos, dir or shell is empty (measured); what stands in
        # for an empty home and shell is what passwd(5) and login(1) say of them.
        told = {
            "name": user.name,
            "gecos": account.gecos or user.name,
            "dir": account.home or "/",
            "shell": account.shell or "/bin/sh",
            "gids": list(ids.gids),
        }
        return {"uid": account.uid, "gid": account.gid, "id": told}


class Attach:
    """Each user's own token, made elsewhere; the token of one user serves nobody else."""

    def __init__(
        self, tokens: TokenSource, now: Clock, forbidden_users: frozenset[str] = frozenset()
    ) -> None:
        self._tokens = tokens
        self._now = now
        self._forbidden = NEVER_USERS | forbidden_users

    async def __call__(
        self,
        identity: Identity,  # noqa: ARG002 (the Protocol's signature)
        user: ClusterUser,
        bearer: Secret | None,  # noqa: ARG002 (the Protocol's signature)
    ) -> UpstreamCredential:
        """Denied: credential-unavailable, credential-user-mismatch, user-forbidden."""
        _refuse_forbidden(user.name, self._forbidden)
        token = await _live_token(self._tokens, user.name, self._now)
        if token.unverified_user != user.name:
            raise _mismatch(token.unverified_user, user.name)
        return UpstreamCredential(user.name, token.secret)


class Impersonate:
    """One SlurmUser token for everybody: Slurm lets it act as whomever X-SLURM-USER-NAME names."""

    def __init__(
        self, tokens: TokenSource, now: Clock, forbidden_users: frozenset[str] = frozenset()
    ) -> None:
        self._tokens = tokens
        self._now = now
        self._forbidden = NEVER_USERS | forbidden_users

    async def __call__(
        self,
        identity: Identity,  # noqa: ARG002 (the Protocol's signature)
        user: ClusterUser,
        bearer: Secret | None,  # noqa: ARG002 (the Protocol's signature)
    ) -> UpstreamCredential:
        """Denied: credential-unavailable, user-forbidden."""
        # Here the name is the whole authority: N = root with this token is root (measured).
        _refuse_forbidden(user.name, self._forbidden)
        token = await _live_token(self._tokens, user.name, self._now)
        return UpstreamCredential(user.name, token.secret)


class Passthrough:
    """The caller's own token, for a Slurm that has the identity provider's keys.

    Slurm takes the user from `sun`, else `username`, else its userclaimfield: one of the first two
    must be the mapped user. `challenge` as in MintTerms.
    """

    def __init__(
        self, now: Clock, challenge: str, forbidden_users: frozenset[str] = frozenset()
    ) -> None:
        self._now = now
        self._challenge = challenge
        self._forbidden = NEVER_USERS | forbidden_users

    async def __call__(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential:
        """Denied: token-expiring, credential-unavailable, credential-user-mismatch, user-forbidden."""
        _refuse_forbidden(user.name, self._forbidden)
        left = identity.expires - self._now()
        if left < MINIMUM_SECONDS_LEFT:
            # Slurm grants no leeway, and its refusal would look like a fault of ours.
            raise _expiring(left, self._challenge)
        if bearer is None:
            raise _unavailable("there is no bearer token to pass on")
        try:
            named = slurm_user_of(identity.claims)
        except ValueError as error:
            raise _mismatch(f"a token that {error}", user.name) from None
        if named is not None and named != user.name:
            raise _mismatch(named, user.name)
        return UpstreamCredential(user.name, bearer, is_callers=True)


async def _live_token(tokens: TokenSource, user: str, now: Clock) -> SlurmToken:
    try:
        token = await tokens(user)
    except CredentialDoubt as doubt:
        raise _unavailable(doubt) from doubt
    if token.unverified_expires - now() < MINIMUM_SECONDS_LEFT:
        raise _unavailable("the attached token has expired or is about to")
    return token


def _refuse_forbidden(name: str, forbidden: frozenset[str]) -> None:
    """Once more what map_user holds, because a token for the wrong name is the whole cluster."""
    if name in forbidden or not is_user_name(name):
        raise Denied(Reason.USER_FORBIDDEN, f"no credential for {name!r}", rule="credential")


def _expiring(left: float, challenge: str) -> Denied:
    note = f"the caller's token has {left:.0f} s left"
    headers = (("WWW-Authenticate", challenge),)
    return Denied(Reason.TOKEN_EXPIRING, note, rule="credential", headers=headers)


def _unavailable(note: object) -> Denied:
    reason = Reason.CREDENTIAL_UNAVAILABLE
    return Denied(reason, str(note), rule="credential", headers=_RETRY_AFTER)


def _mismatch(named: str, user: str) -> Denied:
    note = f"the token is {named!r}'s, the user is {user}"
    return Denied(Reason.CREDENTIAL_USER_MISMATCH, note, rule="credential")
