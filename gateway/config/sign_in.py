"""[sign_in]: browser sign-in at the issuers, and how long the sessions last that it makes."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.section import Count, HttpsUrl, Seconds, Section

Text = Annotated[str, Field(min_length=1, max_length=512)]


class SignInClient(Section):
    """The gateway as a client of one issuer. Its redirect URI is public_url + "/login/callback/" + name."""

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$")
    """Stands in the redirect URI, so that an answer of another issuer is told from this one's."""
    title: str = Field(default="", max_length=80)
    """What people choose by where there are several; the issuer's host without it."""
    issuer: HttpsUrl
    """One of authenticate.issuers, whose keys, algorithms, leeway and groups_claim hold here too."""
    client_id: Text
    """What the provider calls the gateway."""
    authentication: Literal[
        "client_secret_basic", "client_secret_post", "private_key_jwt", "none"
    ] = "client_secret_basic"
    """How the gateway proves to be this client at the token endpoint; PKCE is used always."""
    client_secret_file: Path | None = None
    """The client's secret (client_secret_basic, client_secret_post); its owner's alone (0400 or 0600)."""
    private_key_file: Path | None = None
    """An RSA or EC private key in PEM (private_key_jwt); its owner's alone (0400 or 0600)."""
    private_key_id: str = ""
    """The `kid` that the provider knows the private key by."""
    scopes: tuple[Text, ...] = ("openid", "profile", "email")
    """What is asked for; "openid" must be among them. "offline_access" brings a refresh token at many."""
    resource: str = ""
    """The resource (RFC 8707) to ask for, where the provider needs one."""
    userinfo: bool = True
    """Ask the userinfo endpoint too: many providers leave groups and names out of ID tokens."""
    logout: Literal["rp-initiated", "rp-initiated-post", "cognito", "none"] = "rp-initiated"
    """How signing out reaches the provider: without the ID token, with it in a form, Cognito's own way, or not."""
    metadata_url: HttpsUrl | None = None
    """Where the provider's metadata is, if not at the issuer's own well-known place."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        needs_secret = self.authentication.startswith("client_secret")
        if needs_secret != (self.client_secret_file is not None):
            raise ValueError(
                "client_secret_file goes with client_secret_basic and client_secret_post"
            )
        if (self.authentication == "private_key_jwt") != (self.private_key_file is not None):
            raise ValueError("private_key_file goes with private_key_jwt")
        if "openid" not in self.scopes:
            raise ValueError('scopes needs "openid"')
        return self


class SignIn(Section):
    """Off while there are no clients. A session passes the same stages as a bearer token."""

    encryption_key_file: Path | None = None
    """Lines of base64, 32 bytes each: the first encrypts what sessions hold, all decrypt. `openssl rand -base64 32`"""
    idle_seconds: Seconds = 14_400.0
    """A session that is not used for so long is over."""
    absolute_seconds: Seconds = 43_200.0
    """A session is over then, however much it is used."""
    check_seconds: Seconds = 300.0
    """How often a session in use asks the provider whether it still stands, where there is a refresh token."""
    provider_grace_seconds: float = Field(default=3600.0, ge=0)
    """How long sessions go on unasked while the provider is down."""
    sessions_per_subject: Count = 20
    """One more ends the one that was unused for longest."""
    maximum_sessions: Count = 100_000
    """Sessions altogether; one more is refused."""
    clients: tuple[SignInClient, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        names = [client.name for client in self.clients]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"client {name} stands more than once")
        if self.clients and self.encryption_key_file is None:
            raise ValueError("clients need encryption_key_file")
        if self.idle_seconds > self.absolute_seconds:
            raise ValueError("idle_seconds must not be more than absolute_seconds")
        return self
