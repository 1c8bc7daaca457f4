"""A folder of the user's -> the gateways that were signed in to, and which of them is meant."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click

from gateway.client.files import read_private, write_private
from gateway.client.trouble import Exit, Trouble, printable

_PROFILE, _DEFAULT = "profile.json", "default.json"
LOG_IN = "sign in with: slurm-gateway login https://slurm.example.org"


@dataclass(frozen=True, slots=True)
class Profile:
    """One sign-in: where, as which client, and by which way. It holds no secret."""

    name: str
    url: str
    way: str
    """browser, device, client-credentials or token-file."""
    issuer: str = ""
    client_id: str = ""
    scopes: tuple[str, ...] = ()
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    ca_file: str = ""
    store: str = "file"
    """Where its tokens are: keyring or file."""
    secret_file: str = ""
    """The file with the client's secret, or with the token itself."""


class Profiles:
    """All profiles below one folder, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """All of them, by name."""
        found = self.folder.glob(f"profiles/*/{_PROFILE}")
        return sorted(file.parent.name for file in found)

    def folder_of(self, name: str) -> Path:
        """Where a profile's files are, whether it exists or not."""
        return self.folder / "profiles" / name

    def read(self, name: str) -> Profile | None:
        """The profile of this name. Raises Trouble where its file cannot be read."""
        if not _is_name(name):
            return None
        content = read_private(self.folder_of(name) / _PROFILE)
        return _profile(name, content) if content else None

    def require(self, name: str) -> Profile:
        """The profile of this name. Raises Trouble where there is none."""
        profile = self.read(name)
        if profile is None:
            known = ", ".join(self.names()) or "none yet"
            raise Trouble(
                Exit.WRONG_CALL,
                f"There is no profile {printable(name)!r}; there are: {known}.",
                LOG_IN,
            )
        return profile

    def at(self, url: str) -> Profile | None:
        """The profile of a gateway's URL; the default one first where there are several."""
        first = self.default()
        everyone = [self.read(name) for name in self.names()]
        for profile in (first, *everyone):
            if profile is not None and profile.url == url:
                return profile
        return None

    def default(self) -> Profile | None:
        """The one of the latest sign-in; the only one where that is gone."""
        name = str(read_private(self.folder / _DEFAULT).get("profile", ""))
        found = self.read(name) if name else None
        names = self.names()
        return found or (self.read(names[0]) if len(names) == 1 else None)

    def keep(self, profile: Profile) -> None:
        """Write it and make it the default. Raises Trouble."""
        check_name(profile.name)
        content = {**asdict(profile), "scopes": list(profile.scopes)}
        write_private(self.folder_of(profile.name) / _PROFILE, content)
        write_private(self.folder / _DEFAULT, {"profile": profile.name})

    def forget(self, name: str) -> None:
        """Remove it with everything that is kept for it. Raises Trouble."""
        try:
            shutil.rmtree(self.folder_of(name))
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE, f"{self.folder_of(name)} cannot be removed: {error.strerror}."
            ) from None


def check_name(name: str) -> None:
    """A profile's name is also its folder's. Raises Trouble."""
    if not _is_name(name):
        raise Trouble(
            Exit.WRONG_CALL,
            f"{printable(name)!r} cannot be a profile's name.",
            "use letters, digits and . _ -",
        )


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the client keeps its files: SLURM_GATEWAY_HOME, or the system's folder for such things."""
    return Path(environ.get("SLURM_GATEWAY_HOME") or click.get_app_dir("slurm-gateway"))


def _profile(name: str, content: Mapping[str, Any]) -> Profile:
    known = {field.name for field in fields(Profile)}
    texts = {key: str(value) for key, value in content.items() if key in known - {"scopes"}}
    scopes = tuple(str(scope) for scope in content.get("scopes") or ())
    missing = {"url", "way"} - texts.keys()
    if missing:
        raise Trouble(Exit.LOCAL_FILE, f"The profile {name} is damaged.", LOG_IN)
    return Profile(**{**texts, "name": name}, scopes=scopes)


def _is_name(name: str) -> bool:
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    return plain.isascii() and plain.isalnum() and not name.startswith(".")
