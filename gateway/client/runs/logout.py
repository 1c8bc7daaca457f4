"""`logout` -> no tokens here any more, and none that the identity provider would renew."""

import json
from pathlib import Path

import click

from gateway.client.access import LOCK_FILE, locked
from gateway.client.opening import profile_of
from gateway.client.options import Options
from gateway.client.profiles import LOG_IN, Profile, Profiles, home_folder
from gateway.client.token_store import Tokens, TokenStore, store_of
from gateway.client.trouble import Exit, Trouble


def run(options: Options) -> int:
    """0 where nothing of the sign-in is left on this machine."""
    profiles = Profiles(home_folder())
    profile = profile_of(options, profiles)
    if profile is None:
        raise Trouble(Exit.NOT_PERMITTED, "You are not signed in here.", LOG_IN)
    store = store_of(profile.store, profile.name, profiles.folder_of(profile.name))
    with locked(profiles.folder_of(profile.name) / LOCK_FILE):
        revoked = _revoke(profile, _read(store))
        store.clear()
    profiles.forget(profile.name)
    facts = {"profile": profile.name, "gateway": profile.url, "revoked": revoked}
    if options.as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"Signed out of {profile.url}.")
    return Exit.DONE


def _read(store: TokenStore) -> Tokens | None:
    try:
        return store.read()
    except Trouble:
        return None  # damaged: it is removed all the same


def _revoke(profile: Profile, tokens: Tokens | None) -> bool:
    """Whether the provider was told. Somebody who is offline can sign out as well."""
    if tokens is None or not tokens.refresh_token or not profile.revocation_endpoint:
        return False
    from gateway.client.metadata import Endpoints
    from gateway.client.oauth import Client, revoke

    endpoints = Endpoints(profile.token_endpoint, revocation=profile.revocation_endpoint)
    ca_file = Path(profile.ca_file) if profile.ca_file else None
    try:
        revoke(Client(profile.issuer, profile.client_id, (), endpoints, ca_file), tokens)
    except Trouble as trouble:
        click.echo(f"The identity provider was not told: {trouble.sentence}", err=True)
        return False
    return True
