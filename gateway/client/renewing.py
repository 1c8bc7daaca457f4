"""A profile -> how its tokens are renewed, with nothing loaded before one has to be."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.client.access import Renew, signed_out
from gateway.client.files import read_secret_file
from gateway.client.profiles import Profile
from gateway.client.token_store import Tokens
from gateway.client.trouble import Exit, Trouble

if TYPE_CHECKING:
    from gateway.client.oauth import Client

SECRET = "SLURM_GATEWAY_CLIENT_SECRET"  # noqa: S105 (the variable's name)


def renewal_of(profile: Profile) -> Renew:
    """How this profile gets its next token."""
    if profile.way == "client-credentials":
        return lambda _: _by_secret(profile)
    return lambda tokens: _by_refresh_token(profile, tokens)


def client_secret(secret_file: str) -> str:
    """The secret of a machine's client: of a file, or of the environment; never of a command line."""
    if secret_file:
        return read_secret_file(Path(secret_file), "the client's secret")
    secret = os.environ.get(SECRET, "")
    if not secret:
        raise Trouble(
            Exit.NO_INPUT,
            "There is no client secret.",
            f"name its file with --client-secret-file, or set {SECRET}",
        )
    return secret


def _by_secret(profile: Profile) -> Tokens:
    from gateway.client.oauth import client_credentials

    return client_credentials(_client(profile, client_secret(profile.secret_file)))


def _by_refresh_token(profile: Profile, tokens: Tokens) -> Tokens:
    if not tokens.refresh_token:
        raise signed_out(
            "Your sign-in is over, and the identity provider gave nothing to renew it."
        )
    from gateway.client.oauth import refresh

    return refresh(_client(profile), tokens.refresh_token)


def _client(profile: Profile, secret: str = "") -> "Client":
    from gateway.client.metadata import Endpoints
    from gateway.client.oauth import Client

    return Client(
        profile.issuer,
        profile.client_id,
        profile.scopes,
        Endpoints(profile.token_endpoint, revocation=profile.revocation_endpoint),
        Path(profile.ca_file) if profile.ca_file else None,
        secret,
    )
