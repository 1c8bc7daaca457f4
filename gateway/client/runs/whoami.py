"""`whoami` -> who is signed in where, until when, and whether the gateway agrees."""

import json
import os
import time
from typing import Any

import click

from gateway.client.access import environment_token
from gateway.client.claims import likely_user, unverified_claims
from gateway.client.opening import open_cluster, place_of, profile_of, token_of
from gateway.client.options import Options
from gateway.client.own_name import who_i_am
from gateway.client.profiles import Profiles, home_folder
from gateway.client.trouble import Exit, printable


def run(options: Options) -> int:
    """0 where the gateway takes the token."""
    profiles = Profiles(home_folder())
    profile = profile_of(options, profiles)
    place = place_of(options, profile)
    with open_cluster(options) as cluster:
        version = cluster.version
        told = who_i_am(cluster.gateway)
        if told is None:
            cluster.get("/ping")
    told = told or {}
    token = token_of(profile, profiles, os.environ)()
    claims = unverified_claims(token)
    from_environment = environment_token(os.environ) is not None
    facts = {
        "gateway": place.url,
        "profile": place.profile,
        "name": printable(likely_user(claims)),
        "slurm_user": printable(told.get("user", "")),
        "uid": told.get("uid"),
        "roles": [printable(role) for role in told.get("roles") or ()],
        "cluster": printable(told.get("cluster", "")),
        "issuer": printable(claims.get("iss", "")),
        "subject": printable(claims.get("sub", "")),
        "token_ends": _moment(claims.get("exp")),
        "way": "environment" if from_environment or profile is None else profile.way,
        "api_version": version,
        "profiles": profiles.names(),
    }
    if options.as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return Exit.DONE


def _print(facts: dict[str, Any]) -> None:
    name = facts["slurm_user"] or facts["name"] or "somebody whose token has no name in it"
    click.echo(f"{click.style(name, bold=True)} at {facts['gateway']}")
    other_name = facts["name"] if facts["name"] != name else ""
    shown = {**facts, "roles": ", ".join(facts["roles"]), "other_name": other_name}
    for label, key in (
        ("cluster", "cluster"),
        ("roles", "roles"),
        ("token names", "other_name"),
        ("issuer", "issuer"),
        ("subject", "subject"),
        ("signed in by", "way"),
        ("token ends", "token_ends"),
        ("API version", "api_version"),
        ("profile", "profile"),
    ):
        if shown[key]:
            click.echo(f"  {label:<13}{shown[key]}")
    others = [one for one in facts["profiles"] if one != facts["profile"]]
    if others:
        click.echo(f"  {'others':<13}{', '.join(others)}")


def _moment(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
