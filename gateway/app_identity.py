"""[authenticate] and [map_user] -> the stages that find out who somebody is, here and on the cluster."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from gateway.app_shelf import Shelf
from gateway.config.authenticate import Authenticate as AuthenticateSection
from gateway.config.authenticate import Issuer
from gateway.config.map_user import MapUser as MapUserSection
from gateway.config.map_user import UserRule as UserRuleSection
from gateway.edges.bindings import BindingsFile
from gateway.edges.deny_list import FileDenyList, NoDenyList
from gateway.edges.directory import NssDirectory
from gateway.edges.discovery import KeyEndpoint, trust
from gateway.edges.few_threads import FewThreads
from gateway.edges.jwks import KeyState, RemoteKeys
from gateway.edges.jwks_file import FileKeys
from gateway.edges.process_file import BINDINGS_FILE
from gateway.edges.shared_bindings import SharedBindings
from gateway.edges.store import Store
from gateway.edges.user_table import UserTableFile
from gateway.model import Clock
from gateway.stages.authenticate import (
    AnonymousBudget,
    Authenticate,
    FailureBudget,
    KeySource,
    Sessions,
    TrustedIssuer,
)
from gateway.stages.map_user import Binding, Bindings, MapUser
from gateway.token.identity import TokenRules
from gateway.token.profiles import Cognito, Oidc, Profile, Rfc9068
from gateway.users.rules import FixedUser, FromClaim, FromTable, NameSource, RoleRule, UserRule

_GROUPS_CLAIM = {"oidc": "groups", "rfc9068": "groups", "cognito": "cognito:groups"}


class Keys(KeySource, Protocol):
    """An issuer's keys that also tell how they are."""

    def state(self) -> KeyState: ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What tokens and sessions are judged by alike."""

    keys: dict[str, Keys]
    deny_list: FileDenyList | NoDenyList


def make_trust(section: AuthenticateSection, shelf: Shelf) -> Trust:
    """Raises FileUnusable or OSError where a file of the section cannot be used."""
    keys = {issuer.issuer: make_keys(issuer, shelf) for issuer in section.issuers}
    return Trust(keys, make_deny_list(section, shelf))


@dataclass(frozen=True, slots=True)
class Identification:
    """The stage, and the parts of it that readiness and metrics ask."""

    authenticate: Authenticate
    keys: dict[str, Keys]
    deny_list: FileDenyList | NoDenyList


def make_authenticate(
    section: AuthenticateSection,
    trusted: Trust,
    failures: FailureBudget,
    *,
    anonymous: AnonymousBudget,
    resource_metadata: str,
    hash_key: bytes,
    now: Clock = time.time,
    sessions: Sessions | None = None,
) -> Identification:
    """Without `sessions` nobody can be signed in."""
    keys, deny_list = trusted.keys, trusted.deny_list
    stage = Authenticate(
        [TrustedIssuer(rules_of(issuer), keys[issuer.issuer]) for issuer in section.issuers],
        deny_list,
        failures,
        now,
        anonymous=anonymous,
        resource_metadata=resource_metadata,
        maximum_token_bytes=section.maximum_token_bytes,
        cached_tokens=section.cached_tokens,
        hash_key=hash_key,
        sessions=sessions,
    )
    return Identification(stage, keys, deny_list)


def make_keys(issuer: Issuer, shelf: Shelf) -> Keys:
    """A file's keys are read anew; fetched ones stay, so that a provider that is down does not hurt."""
    if issuer.jwks_file is not None:
        path = issuer.jwks_file
        return shelf.take(object(), lambda: FileKeys(path), run=FileKeys.keep_fresh)
    return shelf.take(
        ("keys", _where_keys_are(issuer)),
        lambda: make_remote_keys(issuer),
        run=RemoteKeys.keep_fresh,
        close=RemoteKeys.close,
    )


def _where_keys_are(issuer: Issuer) -> tuple[object, ...]:
    """Whatever the keys depend on. A new authority file may stand under its old name."""
    authority = issuer.ca_file.read_bytes() if issuer.ca_file else b""
    ages = (issuer.key_age_seconds, issuer.stale_key_seconds)
    return (issuer.issuer, issuer.jwks_url, issuer.discovery, authority, *ages)


def make_remote_keys(issuer: Issuer) -> RemoteKeys:
    """Fetched by discovery or from the URL. Raises OSError for an authority that cannot be read."""
    tls = trust(issuer.ca_file)
    endpoint = KeyEndpoint(tls, issuer.issuer, issuer.jwks_url, issuer.discovery)
    return RemoteKeys(
        endpoint,
        issuer=issuer.issuer,
        key_age_seconds=issuer.key_age_seconds,
        stale_key_seconds=issuer.stale_key_seconds,
    )


def rules_of(issuer: Issuer) -> TokenRules:
    """What the tokens of one issuer must be like."""
    return TokenRules(
        issuer=issuer.issuer,
        profile=_profile_of(issuer),
        algorithms=frozenset(issuer.algorithms),
        leeway_seconds=issuer.leeway_seconds,
        maximum_lifetime_seconds=issuer.maximum_lifetime_seconds,
        groups_claim=groups_claim_of(issuer),
        groups_separator=issuer.groups_separator,
        subject_claim=issuer.subject_claim,
        required_claims=issuer.required_claims,
    )


def groups_claim_of(issuer: Issuer) -> str:
    """Where its tokens have groups."""
    return issuer.groups_claim or _GROUPS_CLAIM[issuer.profile]


def _profile_of(issuer: Issuer) -> Profile:
    accepts = issuer.accept_id_tokens
    match issuer.profile:
        case "oidc":
            return Oidc(issuer.audiences, issuer.login_client_ids, accept_id_tokens=accepts)
        case "rfc9068":
            return Rfc9068(issuer.audiences, issuer.login_client_ids)
        case "cognito":
            return Cognito(issuer.client_ids, issuer.audiences, accept_id_tokens=accepts)
        case never:
            assert_never(never)


def make_deny_list(section: AuthenticateSection, shelf: Shelf) -> FileDenyList | NoDenyList:
    """Raises FileUnusable for a list that cannot be used."""
    path = section.deny_list_file
    if path is None:
        return NoDenyList()
    issuers = [issuer.issuer for issuer in section.issuers]
    return shelf.take(object(), lambda: FileDenyList(path, issuers), run=FileDenyList.keep_fresh)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The stage, and the parts of it that are looked at before it is put to use."""

    map_user: MapUser
    directory: NssDirectory
    tables: dict[Path, UserTableFile]
    bindings: BindingsFile | SharedBindings | None


_BINDING_THREADS = 2
"""None of NSS's, which may hang."""


def make_map_user(
    section: MapUserSection,
    state_directory: Path,
    threads: FewThreads,
    shelf: Shelf,
    *,
    store: Store | None = None,
    remember: bool = True,
) -> Mapped:
    """Raises FileUnusable for a table that cannot be used. Without `remember` nothing is bound."""
    tables = {
        rule.table_file: open_table(rule.table_file, shelf)
        for rule in section.rules
        if rule.table_file is not None
    }
    directory = make_directory(section, threads)
    binds = any(rule.bind for rule in section.rules)
    bindings = open_bindings(state_directory, store) if binds else None
    stage = _map_with(
        section,
        user_rules(section.rules, lambda path: FromTable(tables[path])),
        directory,
        bindings if bindings is None or remember else _Looking(bindings),
    )
    return Mapped(stage, directory, tables, bindings)


def open_bindings(state_directory: Path, store: Store | None) -> BindingsFile | SharedBindings:
    """Of this machine, or of all that share a store."""
    if store is not None:
        return SharedBindings(store, state_directory)
    return BindingsFile(state_directory / BINDINGS_FILE, FewThreads(_BINDING_THREADS))


def make_directory(section: MapUserSection, threads: FewThreads) -> NssDirectory:
    """The machine's own directory of users."""
    return NssDirectory(
        threads,
        limit_seconds=section.directory_seconds,
        cache_seconds=section.directory_cache_seconds,
    )


def make_user_check(section: MapUserSection, name: str, threads: FewThreads) -> MapUser:
    """A stage that maps everybody to this user, under everything that no rule can override."""
    rule = UserRule("--user", "", {}, FixedUser(name))
    return _map_with(section, [rule], make_directory(section, threads), None)


def _map_with(
    section: MapUserSection,
    rules: Sequence[UserRule],
    directory: NssDirectory,
    bindings: Bindings | None,
) -> MapUser:
    return MapUser(
        rules,
        [RoleRule(rule.issuer, rule.role, rule.when) for rule in section.roles],
        directory=directory,
        bindings=bindings,
        forbidden_users=section.forbidden_users,
        minimum_uid=section.minimum_uid,
        must_exist=section.must_exist,
        monotonic=time.monotonic,
    )


class _Looking:
    """Bindings that are looked at, and not made."""

    def __init__(self, bindings: BindingsFile | SharedBindings) -> None:
        self._bindings = bindings

    async def bind(self, wanted: Binding) -> Binding:
        """What would hold."""
        return await self._bindings.peek(wanted)


def open_table(path: Path, shelf: Shelf) -> UserTableFile:
    """Read anew by every generation, so that a reload refuses a broken table."""
    return shelf.take(object(), lambda: UserTableFile(path), run=UserTableFile.keep_fresh)


def user_rules(
    rules: Sequence[UserRuleSection], open_table: Callable[[Path], NameSource]
) -> list[UserRule]:
    """The rules with their places as names."""
    return [
        UserRule(
            f"map_user.rules[{index}]",
            rule.issuer,
            rule.when,
            _source_of(rule, open_table),
            rule.bind == "first-use",
        )
        for index, rule in enumerate(rules)
    ]


def _source_of(rule: UserRuleSection, open_table: Callable[[Path], NameSource]) -> NameSource:
    match rule:
        case UserRuleSection(claim=str() as claim):
            return FromClaim(
                claim,
                strip_domain=rule.strip_domain,
                lowercase=rule.lowercase,
                pattern=rule.pattern,
            )
        case UserRuleSection(table_file=Path() as path):
            return open_table(path)
        case UserRuleSection(fixed_user=str() as user):
            return FixedUser(user)
        case _:
            raise AssertionError("the model lets no rule without a source through")
