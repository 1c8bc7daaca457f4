"""[sign_in] -> sessions for the first stage, and the pages that make and end them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from joserfc.jwk import ECKey, RSAKey

from gateway.app_identity import Keys, groups_claim_of
from gateway.app_shelf import Shelf
from gateway.app_store import open_store
from gateway.config.authenticate import Issuer
from gateway.config.gateway import Gateway
from gateway.config.sign_in import SignIn, SignInClient
from gateway.edges.discovery import metadata_url, trust
from gateway.edges.oidc_provider import OidcProvider, Registration
from gateway.edges.process_file import SESSIONS_FILE
from gateway.edges.provider_metadata import ProviderMetadata
from gateway.edges.secret_file import SecretFile
from gateway.edges.session_store import SqliteSessionStore
from gateway.edges.shared_sessions import SharedSessions
from gateway.edges.sign_in_secrets import (
    client_secret_file,
    private_key_file,
    read_encryption_keys,
)
from gateway.model import ClusterUser, Identity, Secret
from gateway.sign_in.desk import Client, Desk
from gateway.sign_in.guard import DenyList, Lifetimes, SessionGuard
from gateway.sign_in.refreshing import Refreshing
from gateway.sign_in.sealing import Sealer, derived_key
from gateway.sign_in.session import Room, SessionDoubt, SessionStore
from gateway.sign_in.session_id import SessionIds
from gateway.sign_in.signed import ClientRules
from gateway.stages.authenticate import FailureBudget
from gateway.web.sign_in.asked import FormTokens
from gateway.web.sign_in.house import Access, House, Leave
from gateway.web.sign_in.leaving import SIGNED_OUT_PATH
from gateway.web.sign_in.pages import Pages

KeptSessions = SqliteSessionStore | SharedSessions
CALLBACK_PATH = "/login/callback/"
_SECONDS_BETWEEN_PURGES = 600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SigningIn:
    """What one generation signs people in with."""

    guard: SessionGuard
    desk: Desk
    store: KeptSessions
    contents: Sealer
    ids: SessionIds
    flows: Sealer
    forms: FormTokens
    providers: Mapping[str, OidcProvider]
    settings: Mapping[str, SignInClient]
    signed_out_url: str

    def house(
        self,
        pages: Pages,
        failures: FailureBudget,
        map_user: Callable[[Identity], Awaitable[ClusterUser]],
        access: Callable[[ClusterUser], Access],
    ) -> House:
        """With what the pages tell of the rest of the gateway."""
        return House(
            desk=self.desk,
            failures=failures,
            guard=self.guard,
            store=self.store,
            contents=self.contents,
            flows=self.flows,
            forms=self.forms,
            pages=pages,
            map_user=map_user,
            access=access,
            leave=self.leave,
        )

    async def leave(self, name: str, id_token: str) -> Leave | None:
        """How to sign out at the provider too. Raises ProviderDoubt."""
        client, endpoints = self.settings[name], await self.providers[name].endpoints()
        match client.logout:
            case "cognito":
                # https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
                url = endpoints.authorization.removesuffix("/oauth2/authorize") + "/logout"
                fields = {"client_id": client.client_id, "logout_uri": self.signed_out_url}
                return Leave(url, "get", fields)
            case "rp-initiated" | "rp-initiated-post" if endpoints.end_session:
                # OpenID Connect RP-Initiated Logout 1.0, section 2
                fields = {
                    "client_id": client.client_id,
                    "post_logout_redirect_uri": self.signed_out_url,
                }
                if client.logout == "rp-initiated":
                    return Leave(endpoints.end_session, "get", fields)
                return Leave(endpoints.end_session, "post", {**fields, "id_token_hint": id_token})
            case _:
                return None


def make_sign_in(
    config: Gateway,
    keys: Mapping[str, Keys],
    deny_list: DenyList,
    shelf: Shelf,
    environ: Mapping[str, str],
) -> SigningIn | None:
    """None where it is not configured. Raises FileUnusable or OSError for files that cannot be used."""
    section = config.sign_in
    if not section.clients or section.encryption_key_file is None:
        return None
    given = environ.get("CREDENTIALS_DIRECTORY")
    directory = Path(given) if given else None
    secrets = read_encryption_keys(section.encryption_key_file, directory)
    origin = config.server.public_url.rstrip("/")
    clients, providers = _make_clients(config, keys, origin, directory)
    kept = _Kept(_open_store(config, shelf), Sealer(secrets, "sessions"), SessionIds(secrets))
    return SigningIn(
        guard=_make_guard(section, clients, kept, deny_list, origin),
        desk=_make_desk(section, clients, kept, deny_list),
        store=kept.store,
        contents=kept.sealer,
        ids=kept.ids,
        flows=Sealer(secrets, "flows"),
        forms=FormTokens(derived_key(secrets[0], "forms")),
        providers=providers,
        settings={one.name: one for one in section.clients},
        signed_out_url=origin + SIGNED_OUT_PATH,
    )


class _Kept(NamedTuple):
    store: KeptSessions
    sealer: Sealer
    ids: SessionIds


def _make_clients(
    config: Gateway, keys: Mapping[str, Keys], origin: str, directory: Path | None
) -> tuple[dict[str, Client], dict[str, OidcProvider]]:
    """By name."""
    issuers = {issuer.issuer: issuer for issuer in config.authenticate.issuers}
    providers = {
        one.name: make_provider(one, issuers[one.issuer], origin, directory)
        for one in config.sign_in.clients
    }
    clients = {
        one.name: Client(
            one.name,
            one.title or one.issuer.partition("://")[2],
            rules_of_client(one, issuers[one.issuer]),
            keys[one.issuer],
            providers[one.name],
        )
        for one in config.sign_in.clients
    }
    return clients, providers


def _lifetimes(section: SignIn) -> Lifetimes:
    return Lifetimes(section.idle_seconds, section.absolute_seconds)


def _make_guard(
    section: SignIn, clients: Mapping[str, Client], kept: _Kept, deny_list: DenyList, origin: str
) -> SessionGuard:
    refresh = Refreshing(
        clients,
        kept.store,
        kept.sealer,
        check_seconds=section.check_seconds,
        grace_seconds=section.provider_grace_seconds,
        now=time.time,
    )
    return SessionGuard(
        kept.store,
        kept.sealer,
        kept.ids,
        {name: client.rules for name, client in clients.items()},
        lifetimes=_lifetimes(section),
        deny_list=deny_list,
        refresh=refresh,
        public_origin=origin,
        now=time.time,
        monotonic=time.monotonic,
    )


def _make_desk(
    section: SignIn, clients: Mapping[str, Client], kept: _Kept, deny_list: DenyList
) -> Desk:
    return Desk(
        clients,
        kept.store,
        kept.sealer,
        kept.ids,
        lifetimes=_lifetimes(section),
        room=Room(section.sessions_per_subject, section.maximum_sessions),
        deny_list=deny_list,
        now=time.time,
    )


def _open_store(config: Gateway, shelf: Shelf) -> KeptSessions:
    """One for all generations."""
    path, idle = config.server.state_directory / SESSIONS_FILE, config.sign_in.idle_seconds
    shared = open_store(config, shelf)
    if shared is not None:
        return shelf.take(
            ("sessions", config.store, idle),
            lambda: SharedSessions(shared),
            run=lambda store: keep_clean(store, idle),
        )
    return shelf.take(
        ("sessions", path, idle),
        lambda: SqliteSessionStore(path),
        run=lambda store: keep_clean(store, idle),
        close=SqliteSessionStore.close,
    )


async def keep_clean(store: SessionStore, idle_seconds: float) -> None:
    """Delete what is over, now and then, for ever."""
    while True:
        try:
            await store.purge(time.time(), idle_seconds)
        except SessionDoubt as doubt:
            _log.warning("sessions are not purged: %s", doubt)
        await asyncio.sleep(_SECONDS_BETWEEN_PURGES)


def rules_of_client(client: SignInClient, issuer: Issuer) -> ClientRules:
    """The issuer's rules, for tokens that it makes for this client."""
    return ClientRules(
        issuer=issuer.issuer,
        client_id=client.client_id,
        algorithms=frozenset(issuer.algorithms),
        leeway_seconds=issuer.leeway_seconds,
        groups_claim=groups_claim_of(issuer),
        groups_separator=issuer.groups_separator,
        subject_claim=issuer.subject_claim,
        required_claims=issuer.required_claims,
    )


def make_provider(
    client: SignInClient, issuer: Issuer, origin: str, directory: Path | None
) -> OidcProvider:
    """Asks nothing yet. Raises OSError for an authority that cannot be read."""
    tls = trust(issuer.ca_file)
    url = client.metadata_url or metadata_url(issuer.issuer, issuer.discovery)
    secret: SecretFile[Secret] | SecretFile[RSAKey | ECKey] | None = None
    if client.client_secret_file is not None:
        secret = client_secret_file(client.client_secret_file, directory)
    elif client.private_key_file is not None:
        secret = private_key_file(client.private_key_file, directory)
    registration = Registration(
        client_id=client.client_id,
        redirect_uri=f"{origin}{CALLBACK_PATH}{client.name}",
        authentication=client.authentication,
        secret=secret,
        key_id=client.private_key_id,
        scopes=client.scopes,
        resource=client.resource,
        asks_userinfo=client.userinfo,
    )
    return OidcProvider(tls, ProviderMetadata(tls, issuer.issuer, url), registration)
