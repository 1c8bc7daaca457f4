"""A page of docs/providers/ -> the configuration and the tokens that stand in it, ready to be tried.

The page is the only place of both, so that what people copy is what is tested.
"""

import base64
import json
import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.gateway import Gateway
from gateway.config.load import validate
from lab.toml_text import merged
from tests.configurations import usable
from tests.running import NOBODY
from tests.tokens import make_token, public_jwk

FOLDER = Path(__file__).parent.parent / "docs/providers"
_BLOCK = re.compile(r"^```(\w+)(?: ([\w-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = "/etc/slurm-gateway"
_TIMES = ("iat", "exp", "nbf", "auth_time")
KEY = "rsa:provider"
"""Stands for the provider's."""
CLIENT_SECRET = "secret0of0a0client"
Claims = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """One provider. `tokens` are payloads by their name in the page: token, id-token, userinfo."""

    name: str
    text: str
    toml: str
    tokens: Mapping[str, Claims]


def read_page(name: str) -> Page:
    """Its blocks: all of TOML are one file, each of JSON is a payload."""
    text = (FOLDER / f"{name}.md").read_text()
    found = [block.groups() for block in _BLOCK.finditer(text)]
    toml = "\n".join(content for kind, _, content in found if kind == "toml")
    tokens = {label: json.loads(content) for kind, label, content in found if kind == "json"}
    return Page(name, text, toml, tokens)


def configuration_of(page: Page, folder: Path, upstream: str) -> Gateway:
    """The page's part of the file, with files that exist and the test's own key for the provider's."""
    settings = settings_of(page.toml, folder)
    for issuer in settings["authenticate"]["issuers"]:
        issuer["jwks_file"] = str(folder / "keys.json")
    below = below_page(folder, upstream)
    _write(folder / "keys.json", json.dumps({"keys": [public_jwk(KEY)]}).encode())
    return validate(merged(below, settings))


def settings_of(toml: str, folder: Path) -> dict[str, Any]:
    """The settings of a page, with the files of the sign-in where they say."""
    settings = tomllib.loads(toml.replace(_PLACE, str(folder)))
    for path, content in _files_of(settings):
        _write(path, content)
    return settings


def below_page(folder: Path, upstream: str) -> dict[str, Any]:
    """What a page does not say. Nothing waits for the disk, so that nothing of it is left over either."""
    unsynced = {"type": "file", "path": str(folder / "audit.jsonl"), "required": False}
    around = {
        **NOBODY,
        "forward": {"upstream": upstream},
        "audit": {"durability": "off", "sinks": [unsynced]},
    }
    return usable(folder, around)


def _files_of(settings: Mapping[str, Any]) -> Iterator[tuple[Path, bytes]]:
    sign_in = settings.get("sign_in", {})
    if "encryption_key_file" in sign_in:
        yield Path(sign_in["encryption_key_file"]), base64.b64encode(os.urandom(32))
    for client in sign_in.get("clients", []):
        if "client_secret_file" in client:
            yield Path(client["client_secret_file"]), CLIENT_SECRET.encode()


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(content)


def changed(claims: Claims, entry: Mapping[str, Any]) -> Claims:
    """As an entry of the corpus says: `claims` laid over, `without` taken away, all times brought to now."""
    moved = {**claims, **entry.get("claims", {})}
    for name in entry.get("without", []):
        del moved[name]
    shift = int(time.time()) - 60 - claims["iat"]
    return {
        name: value + shift if name in _TIMES and isinstance(value, int) else value
        for name, value in moved.items()
    }


def signed(claims: Claims, entry: Mapping[str, Any]) -> str:
    """The token's text. `key` is another provider's, `header` is laid over that of RS256."""
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT", **entry.get("header", {})}
    return make_token(header, claims, entry.get("key", KEY), header["alg"])
