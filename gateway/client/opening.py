"""Options and environment -> a gateway to ask, with its token and in its API version."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.client.access import LOCK_FILE, FileToken, KeptToken, environment_token, signed_out
from gateway.client.api_version import find_version, number_of
from gateway.client.asking import AccessToken, Answer, Gateway, open_http
from gateway.client.files import read_private, write_private
from gateway.client.options import Options
from gateway.client.place import Place, gateway_url
from gateway.client.profiles import LOG_IN, Profile, Profiles, home_folder
from gateway.client.refusals import explain_slurm, has_no_accounting
from gateway.client.token_store import store_of
from gateway.client.trouble import Exit, Trouble

VERSION_FILE = "api-version.json"
_NOT_FOUND, _BAD_GATEWAY = 404, 502


@dataclass(frozen=True, slots=True)
class Cluster:
    """One gateway in one API version."""

    gateway: Gateway
    version: str

    @property
    def number(self) -> int:
        """42 of v0.0.42."""
        return number_of(self.version)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Answer:
        """Read from slurmctld: "/jobs". Raises Trouble."""
        return self.gateway.ask("GET", f"/slurm/{self.version}{path}", parameters=parameters)

    def get_accounting(self, path: str, parameters: Mapping[str, str]) -> Answer:
        """Read from slurmdbd: "/jobs". Raises Trouble."""
        answer = self.gateway.ask("GET", f"/slurmdb/{self.version}{path}", parameters=parameters)
        if has_no_accounting(answer.content):
            raise explain_slurm(_BAD_GATEWAY, answer.content)
        return answer

    def delete(self, path: str, parameters: Mapping[str, str]) -> Answer:
        """Cancel or signal. Raises Trouble."""
        return self.gateway.ask("DELETE", f"/slurm/{self.version}{path}", parameters=parameters)


def profile_of(options: Options, profiles: Profiles) -> Profile | None:
    """The sign-in that is meant: by name, by the gateway's URL, or the latest. Raises Trouble."""
    if options.profile:
        return profiles.require(options.profile)
    if options.gateway:
        return profiles.at(gateway_url(options.gateway))
    return profiles.default()


def place_of(options: Options, profile: Profile | None) -> Place:
    """Where to ask. Raises Trouble where nothing says so."""
    url = gateway_url(options.gateway) if options.gateway else profile.url if profile else ""
    if not url:
        raise Trouble(Exit.WRONG_CALL, "There is no gateway to ask.", LOG_IN)
    if profile is not None and profile.url != url:
        raise Trouble(
            Exit.WRONG_CALL,
            f"The profile {profile.name} belongs to {profile.url}, not to {url}.",
            "leave out --gateway or --profile",
        )
    own = Path(profile.ca_file) if profile and profile.ca_file else None
    return Place(url, options.ca_file or own, profile.name if profile else "")


def token_of(
    profile: Profile | None, profiles: Profiles, environ: Mapping[str, str]
) -> AccessToken:
    """The environment's token before the profile's, as CI jobs expect. Raises Trouble."""
    given = environment_token(environ)
    if given is not None:
        return given
    if profile is None:
        raise signed_out("You are not signed in at this gateway.")
    if profile.way == "token-file":
        return FileToken(Path(profile.secret_file))
    folder = profiles.folder_of(profile.name)
    store = store_of(profile.store, profile.name, folder)

    from gateway.client.renewing import renewal_of

    return KeptToken(store, folder / LOCK_FILE, renewal_of(profile))


@contextmanager
def open_gateway(options: Options, environ: Mapping[str, str] = os.environ) -> Iterator[Gateway]:
    """The gateway, as whoever is signed in. Raises Trouble."""
    profiles = Profiles(home_folder(environ))
    profile = profile_of(options, profiles)
    place = place_of(options, profile)
    token = token_of(profile, profiles, environ)
    with open_http(place.ca_file, options.timeout_seconds) as http:
        yield Gateway(place, http, token)


@contextmanager
def open_cluster(options: Options, environ: Mapping[str, str] = os.environ) -> Iterator[Cluster]:
    """The gateway in an API version: the one that was typed, the remembered one, or the newest. Raises Trouble.

    A remembered version that is gone after an upgrade of Slurm is looked for anew at the next call.
    """
    with open_gateway(options, environ) as gateway:
        memory = _memory(gateway.place, environ)
        version = options.api_version or _remembered(memory) or _found(gateway, memory)
        number_of(version)
        try:
            yield Cluster(gateway, version)
        except Trouble as trouble:
            if memory is not None and trouble.status == _NOT_FOUND:
                memory.unlink(missing_ok=True)
            raise


def _memory(place: Place, environ: Mapping[str, str]) -> Path | None:
    if not place.profile:
        return None
    return Profiles(home_folder(environ)).folder_of(place.profile) / VERSION_FILE


def _remembered(memory: Path | None) -> str:
    return str(read_private(memory).get("api_version", "")) if memory is not None else ""


def _found(gateway: Gateway, memory: Path | None) -> str:
    version = find_version(gateway)
    if memory is not None:
        write_private(memory, {"api_version": version})
    return version
