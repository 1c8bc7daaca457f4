"""(Identity) -> ClusterUser: the account that Slurm sees, never one that the gateway must not act as."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from gateway.denial import Denied, Reason
from gateway.model import ClusterUser, Identity
from gateway.token.conditions import meets
from gateway.users.accounts import NEVER_USERS, Account, Lookup, is_user_name
from gateway.users.rules import RoleRule, Unmapped, UserRule

TABLE_SECONDS = 1.0
"""How long what may change, a table's name or a binding, is used before it is asked for again."""
_RETRY_AFTER = (("Retry-After", "5"),)


class DirectoryDoubt(Exception):
    """The directory or the bindings cannot be asked. The text says why, for the audit."""


class Directory(Protocol):
    """The accounts of the cluster: NSS, or what stands for it."""

    async def lookup(self, name: str) -> Lookup:
        """The account of this name. Raises DirectoryDoubt where the answer is not known."""


class Binding(NamedTuple):
    """Whose a user is: the subject that first used it."""

    issuer: str
    subject: str
    user: str


class Bindings(Protocol):
    """What is remembered of first uses until an admin removes it."""

    async def bind(self, wanted: Binding) -> Binding:
        """The binding that holds: `wanted`, now or already remembered, or the one in its way.

        Raises DirectoryDoubt where it cannot be remembered.
        """


class _Known(NamedTuple):
    user: ClusterUser
    fresh_until: float


class MapUser:
    """The first rule whose issuer and conditions match is final; then what no rule can override.

    `bindings` may be None where no rule binds. `monotonic` is the clock of the directory's answers.
    """

    def __init__(
        self,
        rules: Sequence[UserRule],
        roles: Sequence[RoleRule],
        *,
        directory: Directory,
        bindings: Bindings | None,
        forbidden_users: Iterable[str],
        minimum_uid: int,
        must_exist: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._rules = tuple(rules)
        self._roles = tuple(roles)
        self._directory = directory
        self._bindings = bindings
        self._forbidden = NEVER_USERS | frozenset(forbidden_users)
        self._minimum_uid = minimum_uid
        self._must_exist = must_exist
        self._monotonic = monotonic
        self._known: WeakKeyDictionary[Identity, _Known] = WeakKeyDictionary()

    async def __call__(self, identity: Identity) -> ClusterUser:
        """The account and its roles, remembered with the Identity while all answers are fresh.

        Denied: user-unmapped, user-forbidden, user-unknown, subject-conflict,
        directory-unavailable.
        """
        known = self._known.get(identity)
        if known is None or self._monotonic() >= known.fresh_until:
            known = self._known[identity] = await self._map(identity)
        return known.user

    def holds(self, identity: Identity, user: ClusterUser) -> bool:
        """Whether this user, which was made here, would be the identity's again at once. Never waits."""
        known = self._known.get(identity)
        return known is not None and known.user is user and self._monotonic() < known.fresh_until

    async def _map(self, identity: Identity) -> _Known:
        fresh_until = self._monotonic() + TABLE_SECONDS
        rule = self._rule_for(identity)
        try:
            name = await rule.source(identity)
            self._refuse_name(name, rule)
            lookup = await self._directory.lookup(name)
            forbidden = [await self._directory.lookup(other) for other in self._forbidden]
            self._refuse_account(name, lookup.account, forbidden)
            await self._bind(identity, name, rule)
        except Unmapped as unmapped:
            raise Denied(Reason.USER_UNMAPPED, str(unmapped), rule=rule.name) from None
        except DirectoryDoubt as doubt:
            raise Denied(
                Reason.DIRECTORY_UNAVAILABLE, str(doubt), rule=rule.name, headers=_RETRY_AFTER
            ) from doubt
        answers = [one.valid_until for one in (lookup, *forbidden)]
        if rule.source.may_change or rule.binds_first_use:
            answers.append(fresh_until)
        uid, gid = lookup.account[1:3] if lookup.account else (None, None)
        user = ClusterUser(name, self._roles_of(identity), rule.name, uid, gid)
        return _Known(user, min(answers))

    def _rule_for(self, identity: Identity) -> UserRule:
        for rule in self._rules:
            if rule.issuer == identity.issuer and meets(identity, rule.when):
                return rule
        raise Denied(
            Reason.USER_UNMAPPED, "no rule's issuer and conditions match", rule="map_user.rules"
        )

    def _refuse_name(self, name: str, rule: UserRule) -> None:
        if not is_user_name(name):
            raise Unmapped("the name is not an account name (a-z, 0-9, _ and -, at most 32)")
        if name in self._forbidden:
            raise _forbidden(f"{rule.name} gives {name}", "map_user.forbidden_users")

    def _refuse_account(
        self, name: str, account: Account | None, forbidden: Iterable[Lookup]
    ) -> None:
        """What NSS knows: the same uid under another name is the same user to Slurm."""
        if account is None:
            if self._must_exist:
                raise Denied(
                    Reason.USER_UNKNOWN, f"{name} has no account", rule="map_user.must_exist"
                )
            return
        never = {other.account.uid for other in forbidden if other.account is not None}
        if account.name in self._forbidden or account.uid in never:
            raise _forbidden(f"{name} is uid {account.uid}", "map_user.forbidden_users")
        if account.uid < max(self._minimum_uid, 1):
            raise _forbidden(f"{name} has uid {account.uid}", "map_user.minimum_uid")

    async def _bind(self, identity: Identity, name: str, rule: UserRule) -> None:
        if not rule.binds_first_use:
            return
        if self._bindings is None or not identity.subject:
            raise Unmapped("there is no subject, or no place to remember it")
        wanted = Binding(identity.issuer, identity.subject, name)
        held = await self._bindings.bind(wanted)
        if held != wanted:
            note = f"{held.user} is bound to subject {held.subject!r} of {held.issuer}"
            raise Denied(Reason.SUBJECT_CONFLICT, note, rule=rule.name)

    def _roles_of(self, identity: Identity) -> tuple[str, ...]:
        held = [
            role.role
            for role in self._roles
            if role.issuer == identity.issuer and meets(identity, role.when)
        ]
        return tuple(dict.fromkeys(["user", *held]))


def _forbidden(note: str, rule: str) -> Denied:
    return Denied(Reason.USER_FORBIDDEN, note, rule=rule)
