"""[authenticate]: which identity providers are believed, and for what."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.section import Condition, Count, HttpsUrl, Seconds, Section

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class Issuer(Section):
    """One OpenID provider or other source of signed access tokens."""

    issuer: HttpsUrl
    """The `iss` of its tokens, compared byte for byte."""
    profile: Literal["oidc", "rfc9068", "cognito"] = "oidc"
    """Which rules its access tokens follow."""
    audiences: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Accepted `aud` values (profiles oidc and rfc9068). May be empty where only ID tokens are taken."""
    client_ids: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Accepted `client_id` values (profile cognito, whose access tokens have no audience)."""
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256",), min_length=1)
    """Signature algorithms (RFC 7518) that its tokens may use; nothing else is tried."""
    jwks_url: HttpsUrl | None = None
    """Where the keys are, instead of by discovery."""
    jwks_file: Path | None = None
    """A local JWKS, instead of discovery; re-read when it changes."""
    discovery: Literal["oidc", "rfc8414"] = "oidc"
    """Which well-known document names the keys."""
    ca_file: Path | None = None
    """The certificate authority of the provider, where it is not a public one."""
    leeway_seconds: float = Field(default=30.0, ge=0, le=60)
    """How far the provider's clock may differ from this one's."""
    maximum_lifetime_seconds: Seconds = 86_400.0
    """Longest accepted lifetime of a token (exp minus iat)."""
    required_claims: dict[str, Condition] = Field(default_factory=dict)
    """What every token has to say, written as `when` of a rule; others are refused as invalid. For issuers
    that serve anybody: { repository_owner_id = "65601" }."""
    subject_claim: Annotated[str, Field(min_length=1)] = "sub"
    """The claim that names the person. Entra ID's `sub` is another one at each client: "oid" is not."""
    groups_claim: str | None = None
    """The claim that holds the user's groups. Without it: "groups", with Cognito "cognito:groups"."""
    groups_separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Splits a group claim that is one string; without it such a string is one group."""
    accept_id_tokens: bool = False
    """Take ID tokens as bearer tokens. They say who signed in, not what a client may do."""
    login_client_ids: tuple[str, ...] = ()
    """Clients that sign users in; a token whose audience is one of them is an ID token."""
    cli_client_id: str = Field(default="", max_length=512)
    """The public client that command lines sign in as; published, so that they need the gateway's URL only."""
    cli_scopes: tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,255}$")], ...] = ("openid",)
    """The scopes that command lines ask for; published with cli_client_id."""
    key_age_seconds: Seconds = 600.0
    """A key that the provider has removed stops verifying within this time."""
    stale_key_seconds: float = Field(default=3600.0, ge=0)
    """How long the last good keys serve while the provider is down."""

    @model_validator(mode="after")
    def _one_source_and_audience(self) -> Self:
        if self.jwks_url and self.jwks_file:
            raise ValueError("jwks_url and jwks_file exclude each other")
        if self.profile == "cognito":
            if not self.client_ids:
                raise ValueError('profile "cognito" needs client_ids')
        elif not self.audiences and not self._takes_id_tokens_only:
            raise ValueError(f'profile "{self.profile}" needs audiences')
        return self

    @property
    def _takes_id_tokens_only(self) -> bool:
        """For the clients that are named: what has no other audience is no token for this gateway."""
        return self.profile == "oidc" and self.accept_id_tokens and bool(self.login_client_ids)


class Authenticate(Section):
    """Issuers, the deny list, and the memory of verified tokens."""

    issuers: tuple[Issuer, ...] = Field(min_length=1)
    deny_list_file: Path | None = None
    """TOML with [[deny]] tables (issuer and subject, client_id, or jti), re-read within 5 s."""
    cached_tokens: Count = 20_000
    """How many verified tokens are remembered."""
    maximum_token_bytes: int = Field(default=16_384, ge=512, le=65_536)
    """A longer token is refused before anything of it is decoded."""

    @model_validator(mode="after")
    def _issuers_differ(self) -> Self:
        names = [issuer.issuer for issuer in self.issuers]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"issuer {name} stands more than once")
        return self
