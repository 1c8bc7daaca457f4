"""`login` -> a profile with tokens, made of nothing but a gateway's URL."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import click
import httpx2

from gateway.client.access import LOCK_FILE, locked
from gateway.client.asking import open_http
from gateway.client.claims import likely_user, unverified_claims
from gateway.client.files import read_secret_file
from gateway.client.metadata import (
    Endpoints,
    Registration,
    choose,
    read_endpoints,
    read_registrations,
)
from gateway.client.opening import VERSION_FILE
from gateway.client.options import Options
from gateway.client.place import gateway_url, profile_name
from gateway.client.profiles import LOG_IN, Profile, Profiles, check_name, home_folder
from gateway.client.token_store import Tokens, keep_first, store_of
from gateway.client.trouble import Exit, Trouble, printable


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants to sign in."""

    way: str | None
    token_file: Path | None
    issuer: str | None
    client_id: str | None
    secret_file: Path | None
    scopes: tuple[str, ...]
    store: str


def run(options: Options, url: str | None, wish: Wish) -> int:
    """0 once the tokens are kept."""
    profiles = Profiles(home_folder())
    before = profiles.default() if options.profile is None else profiles.read(options.profile)
    address = _address(options, url, before)
    name = options.profile or profile_name(address)
    replaced = _replaced(profiles, name, address)
    ca_file = options.ca_file or _known_ca_file(before, address)
    with open_http(ca_file, options.timeout_seconds) as http:
        profile, tokens = _sign_in(http, name, wish, address, ca_file)
    folder = profiles.folder_of(name)
    with locked(folder / LOCK_FILE):
        if tokens is not None:
            profile = replace(profile, store=keep_first(wish.store, name, folder, tokens))
        if replaced is not None and (tokens is None or replaced.store != profile.store):
            store_of(replaced.store, name, folder).clear()
        profiles.keep(profile)
    (folder / VERSION_FILE).unlink(missing_ok=True)
    _report(profile, _name_in(tokens), as_json=options.as_json)
    return Exit.DONE


def _address(options: Options, url: str | None, before: Profile | None) -> str:
    typed = url or options.gateway or (before.url if before else "")
    if not typed:
        raise Trouble(Exit.WRONG_CALL, "Which gateway?", LOG_IN)
    return gateway_url(typed)


def _replaced(profiles: Profiles, name: str, address: str) -> Profile | None:
    """The profile whose place is taken. One of another gateway stays: what still asks there would send our token."""
    check_name(name)
    found = profiles.read(name)
    if found is not None and found.url != address:
        raise Trouble(
            Exit.WRONG_CALL,
            f"The profile {name} belongs to {found.url}.",
            f"choose another name with --profile, or first: slurm-gateway logout --profile {name}",
        )
    return found


def _known_ca_file(before: Profile | None, address: str) -> Path | None:
    return Path(before.ca_file) if before and before.ca_file and before.url == address else None


def _sign_in(
    http: httpx2.Client, name: str, wish: Wish, address: str, ca_file: Path | None
) -> tuple[Profile, Tokens | None]:
    registrations, own_name = read_registrations(http, address)
    if gateway_url(own_name) != address:
        raise Trouble(
            Exit.WRONG_CALL,
            f"The gateway at {address} calls itself {own_name}.",
            f"sign in with: slurm-gateway login {own_name}",
        )
    trusted = str(ca_file.absolute()) if ca_file else ""
    if wish.token_file is not None:
        read_secret_file(wish.token_file, "the access token")
        path = str(wish.token_file.absolute())
        return Profile(name, address, "token-file", ca_file=trusted, secret_file=path), None
    registration = _complete(choose(registrations, wish.issuer), wish)
    endpoints = read_endpoints(http, registration.issuer)
    way = wish.way or _default_way(endpoints)
    tokens = _tokens(way, registration, endpoints, ca_file, wish)
    profile = Profile(
        name,
        address,
        way,
        issuer=registration.issuer,
        client_id=registration.client_id,
        scopes=registration.scopes,
        token_endpoint=endpoints.token,
        revocation_endpoint=endpoints.revocation,
        ca_file=trusted,
        secret_file=str(wish.secret_file.absolute()) if wish.secret_file else "",
    )
    return profile, tokens


def _complete(registration: Registration, wish: Wish) -> Registration:
    """A machine's own client has nothing to do with the people's, nor with their scopes."""
    if wish.client_id:
        return Registration(registration.issuer, wish.client_id, wish.scopes)
    if not registration.client_id or wish.way == "client-credentials":
        raise Trouble(
            Exit.WRONG_CALL,
            "Client credentials need the id of your client."
            if wish.way == "client-credentials"
            else "The gateway names no client for command lines.",
            "name it with --client-id; the gateway's administrators know it",
        )
    return Registration(
        registration.issuer, registration.client_id, wish.scopes or registration.scopes
    )


def _default_way(endpoints: Endpoints) -> str:
    from gateway.client.signing_in import default_way

    return default_way(
        os.environ, has_device=bool(endpoints.device), has_browser=bool(endpoints.authorization)
    )


def _tokens(
    way: str,
    registration: Registration,
    endpoints: Endpoints,
    ca_file: Path | None,
    wish: Wish,
) -> Tokens:
    from gateway.client import oauth, signing_in
    from gateway.client.renewing import client_secret

    is_machine = way == "client-credentials"
    client = oauth.Client(
        registration.issuer,
        registration.client_id,
        registration.scopes,
        endpoints,
        ca_file,
        client_secret(str(wish.secret_file or "")) if is_machine else "",
    )
    if is_machine:
        return oauth.client_credentials(client)
    return signing_in.by_device(client) if way == "device" else signing_in.by_browser(client)


def _name_in(tokens: Tokens | None) -> str:
    return printable(likely_user(unverified_claims(tokens.access_token))) if tokens else ""


def _report(profile: Profile, name: str, *, as_json: bool) -> None:
    """With the name: who sees this machine's processes can have finished the sign-in as themselves."""
    facts = {
        "profile": profile.name,
        "gateway": profile.url,
        "store": profile.store,
        "name": name,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    where = "in the system's keyring" if profile.store == "keyring" else "in a file of your own"
    if profile.way == "token-file":
        where = f"read from {profile.secret_file}"
    who = f" as {click.style(name, bold=True)}" if name else ""
    click.echo(f"{click.style('Signed in', fg='green')} at {profile.url}{who}; tokens are {where}.")
    click.echo("Try: slurm-gateway jobs", err=True)
