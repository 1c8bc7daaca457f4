"""Whoever is signed in -> the Slurm user that --me means, as far as a client can know it."""

import os
from dataclasses import replace

from gateway.client.choosing import Choice
from gateway.client.claims import likely_user, unverified_claims
from gateway.client.opening import profile_of, token_of
from gateway.client.options import Options
from gateway.client.profiles import Profiles, home_folder
from gateway.client.trouble import Exit, Trouble

USER = "SLURM_GATEWAY_USER"


def own_name(options: Options) -> str:
    """The variable's user, or the name in the token. Raises Trouble where there is neither."""
    if named := os.environ.get(USER, ""):
        return named
    profiles = Profiles(home_folder())
    token = token_of(profile_of(options, profiles), profiles, os.environ)()
    name = likely_user(unverified_claims(token))
    if not name:
        raise Trouble(
            Exit.WRONG_CALL,
            "Your token does not say which Slurm user you are.",
            f"name yourself with --user, or set {USER}",
        )
    return name


def with_own_name(options: Options, choice: Choice) -> Choice:
    """The same choice of one's own jobs."""
    return replace(choice, users=choice.users | {own_name(options)})
