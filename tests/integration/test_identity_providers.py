"""Tokens of real providers, judged by the stage over the real sources of keys."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.discovery import KeyEndpoint, trust
from gateway.edges.jwks import RemoteKeys
from gateway.model import Identity, Secret
from gateway.stages.authenticate import Authenticate, TrustedIssuer
from gateway.token.identity import TokenRules
from gateway.token.profiles import Cognito, Oidc, Profile, Rfc9068
from lab.identity_provider import AUDIENCE, IdentityProvider
from lab.identity_provider.provider import CLI_CLIENT, MACHINE_CLIENT
from tests.cognito import CognitoPool, moto_pool
from tests.fakes import FakeClock, make_request
from tests.integration.conftest import NewProvider
from tests.tokens import METADATA, FakeAnonymous, FakeDenyList, FakeFailures

KEY_AGE, STALE = 600.0, 3600.0


@dataclass
class Gateway:
    """The stage for one issuer. Keys age by `clock`, which the test moves; tokens by the real time."""

    issuer: str
    profile: Profile
    jwks_url: str | None = None
    discovery: Literal["oidc", "rfc8414"] = "oidc"
    groups_claim: str = "groups"
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        endpoint = KeyEndpoint(trust(None), self.issuer, self.jwks_url, self.discovery)
        self.keys = RemoteKeys(
            endpoint,
            issuer=self.issuer,
            key_age_seconds=KEY_AGE,
            stale_key_seconds=STALE,
            now=self.clock,
        )
        rules = TokenRules(
            self.issuer, self.profile, frozenset({"RS256"}), 30, 86_400, self.groups_claim
        )
        self.stage = Authenticate(
            [TrustedIssuer(rules, self.keys)],
            FakeDenyList(),
            FakeFailures(),
            time.time,
            anonymous=FakeAnonymous(),
            resource_metadata=METADATA,
            maximum_token_bytes=16_384,
            cached_tokens=100,
            hash_key=b"k" * 32,
        )

    async def sees(self, token: str) -> Identity:
        return await self.stage(make_request(bearer=Secret(token)))

    async def refuses(self, token: str, reason: Reason = Reason.TOKEN_INVALID) -> str:
        with pytest.raises(Denied) as caught:
            await self.sees(token)
        assert caught.value.reason is reason
        return caught.value.note

    async def let_keys_age(self) -> None:
        """As long as it takes until a removed key must have stopped."""
        self.clock.advance(KEY_AGE)


# --- a certified OpenID provider


@pytest.mark.real
@pytest.mark.parametrize(
    "profile", [Oidc({AUDIENCE}), Rfc9068({AUDIENCE})], ids=["oidc", "rfc9068"]
)
async def test_an_access_token_of_a_person_is_accepted(
    identity_provider: IdentityProvider, profile: Profile
) -> None:
    gateway = Gateway(identity_provider.issuer, profile)
    identity = await gateway.sees(identity_provider.token_for("bob"))
    assert (identity.issuer, identity.kind) == (identity_provider.issuer, "user")
    assert identity.client_id == CLI_CLIENT
    assert identity.groups == ("hpc-users", "hpc-operators")
    assert identity.claims["preferred_username"] == "bob"
    assert identity.token_id


@pytest.mark.real
async def test_keys_are_found_by_the_configured_url_too(
    identity_provider: IdentityProvider,
) -> None:
    gateway = Gateway(identity_provider.issuer, Oidc({AUDIENCE}), identity_provider.jwks_url)
    assert (await gateway.sees(identity_provider.token_for("alice"))).kind == "user"


@pytest.mark.real
async def test_an_access_token_of_a_machine_is_known_as_one(
    identity_provider: IdentityProvider,
) -> None:
    identity = await Gateway(identity_provider.issuer, Oidc({AUDIENCE})).sees(
        identity_provider.machine_token()
    )
    assert (identity.kind, identity.client_id) == ("machine", MACHINE_CLIENT)


@pytest.mark.real
async def test_an_id_token_is_refused(identity_provider: IdentityProvider) -> None:
    """This provider's ID tokens have neither nonce nor at_hash, and no typ: only aud tells."""
    token = str(identity_provider.tokens_for("alice")["id_token"])
    refused: dict[str, Profile] = {
        "aud is not one of ours": Oidc({AUDIENCE}),
        "an ID token": Oidc({AUDIENCE, CLI_CLIENT}, {CLI_CLIENT}),
        "typ is not that of an access token": Rfc9068({AUDIENCE, CLI_CLIENT}),
    }
    for note, profile in refused.items():
        assert await Gateway(identity_provider.issuer, profile).refuses(token) == note


@pytest.mark.real
async def test_an_id_token_is_accepted_where_that_is_wanted(
    identity_provider: IdentityProvider,
) -> None:
    profile = Oidc({AUDIENCE}, {CLI_CLIENT}, accept_id_tokens=True)
    token = str(identity_provider.tokens_for("alice")["id_token"])
    identity = await Gateway(identity_provider.issuer, profile).sees(token)
    assert (identity.kind, identity.client_id) == ("user", CLI_CLIENT)


@pytest.mark.real
async def test_a_token_for_another_resource_is_refused(identity_provider: IdentityProvider) -> None:
    gateway = Gateway(identity_provider.issuer, Oidc({"https://other.example.org"}))
    assert await gateway.refuses(identity_provider.token_for("alice")) == "aud is not one of ours"


@pytest.mark.real
async def test_another_providers_token_is_refused_under_this_ones_name(
    identity_provider: IdentityProvider, new_identity_provider: NewProvider
) -> None:
    """The other one's issuer, this one's keys."""
    other = new_identity_provider()
    gateway = Gateway(other.issuer, Oidc({AUDIENCE}), identity_provider.jwks_url)
    assert "keys fit" in await gateway.refuses(other.machine_token())


@pytest.mark.real
async def test_a_rotated_key_is_taken_up_and_a_withdrawn_one_dropped(
    new_identity_provider: NewProvider,
) -> None:
    provider = new_identity_provider()
    gateway = Gateway(provider.issuer, Oidc({AUDIENCE}))
    old = provider.machine_token()
    await gateway.sees(old)

    provider.rotate_keys()
    new = provider.machine_token()
    gateway.clock.advance(11)
    assert (await gateway.sees(new)).kind == "machine", "its kid was unknown, and asked for"
    await gateway.sees(old)

    provider.rotate_keys(withdraw_old=True)
    await gateway.let_keys_age()
    await gateway.refuses(old)
    await gateway.refuses(new)
    assert (await gateway.sees(provider.machine_token())).kind == "machine"


@pytest.mark.real
async def test_a_provider_that_stops_is_outlived_by_its_keys_for_a_time(
    new_identity_provider: NewProvider,
) -> None:
    provider = new_identity_provider()
    gateway = Gateway(provider.issuer, Oidc({AUDIENCE}))
    known, fresh = provider.machine_token(), provider.machine_token()
    await gateway.sees(known)
    provider.down()

    await gateway.let_keys_age()
    await gateway.sees(known)
    await gateway.sees(fresh)
    assert "jwks" in gateway.keys.state().error or "openid" in gateway.keys.state().error
    gateway.clock.advance(STALE)
    await gateway.refuses(known, Reason.KEYS_UNAVAILABLE)
    await gateway.refuses(fresh, Reason.KEYS_UNAVAILABLE)

    provider.up()
    gateway.clock.advance(30)
    await gateway.sees(known)


@pytest.mark.real
async def test_a_provider_that_is_down_at_the_start_is_waited_for(
    new_identity_provider: NewProvider,
) -> None:
    provider = new_identity_provider()
    token = provider.machine_token()
    provider.down()
    gateway = Gateway(provider.issuer, Oidc({AUDIENCE}))
    await gateway.refuses(token, Reason.KEYS_UNAVAILABLE)
    assert not gateway.keys.state().usable
    provider.up()
    gateway.clock.advance(1)
    assert (await gateway.sees(token)).kind == "machine"
    assert gateway.keys.state().usable


# --- tokens as Amazon Cognito shapes them, from moto


@pytest.fixture(scope="module")
def cognito() -> Iterator[CognitoPool]:
    with moto_pool() as pool:
        yield pool


def cognito_gateway(cognito: CognitoPool, *client_ids: str, accept: bool = False) -> Gateway:
    profile = Cognito(client_ids or {cognito.client_id}, accept_id_tokens=accept)
    return Gateway(cognito.issuer, profile, cognito.jwks_url, groups_claim="cognito:groups")


async def test_a_cognito_access_token_is_accepted(cognito: CognitoPool) -> None:
    token = cognito.sign_in(cognito.client_id)["AccessToken"]
    identity = await cognito_gateway(cognito).sees(token)
    assert (identity.issuer, identity.kind) == (cognito.issuer, "user")
    assert (identity.client_id, identity.groups) == (cognito.client_id, ("hpc-users",))
    assert identity.claims["username"] == "alice"


async def test_a_cognito_id_token_is_refused_unless_wanted(cognito: CognitoPool) -> None:
    token = cognito.sign_in(cognito.client_id)["IdToken"]
    assert await cognito_gateway(cognito).refuses(token) == "an ID token"
    identity = await cognito_gateway(cognito, accept=True).sees(token)
    assert (identity.client_id, identity.groups) == (cognito.client_id, ("hpc-users",))


async def test_a_cognito_token_of_another_app_client_is_refused(cognito: CognitoPool) -> None:
    token = cognito.sign_in(cognito.client_id)["AccessToken"]
    gateway = cognito_gateway(cognito, "somebody-elses")
    assert await gateway.refuses(token) == "client_id is not one of ours"


async def test_a_cognito_access_token_has_no_audience_for_other_profiles(
    cognito: CognitoPool,
) -> None:
    token = cognito.sign_in(cognito.client_id)["AccessToken"]
    gateway = Gateway(cognito.issuer, Oidc({AUDIENCE}), cognito.jwks_url)
    assert await gateway.refuses(token) == "aud is missing"


async def test_a_pool_with_the_same_key_is_another_issuer(cognito: CognitoPool) -> None:
    """moto signs for every pool with one published key; the name alone keeps pools apart."""
    token = cognito.sign_in(cognito.client_id)["AccessToken"]
    gateway = Gateway(f"{cognito.issuer}-other", Cognito({cognito.client_id}), cognito.jwks_url)
    assert await gateway.refuses(token) == "iss is not one of ours"
