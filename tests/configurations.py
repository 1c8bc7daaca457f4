"""Changes -> a whole configuration, as nested settings, as a file, or as the model."""

import json
import os
import time
from pathlib import Path
from typing import Any

from gateway.config.gateway import Gateway
from gateway.config.load import validate
from lab.gateway import audit_sink
from lab.toml_text import Settings, merged, to_toml
from tests.tokens import base_header, make_token, public_jwk

ISSUER = "https://idp.example.org"

MINIMAL: dict[str, Any] = {
    "server": {
        "listen": "127.0.0.1:0",
        "public_url": "https://slurm.example.org",
        "operations_listen": "127.0.0.1:0",
        "state_directory": "/nonexistent/state",
        "cluster": "example",
    },
    "authenticate": {
        "issuers": [{"issuer": ISSUER, "audiences": ["https://slurm.example.org"]}],
    },
    "map_user": {"rules": [{"issuer": ISSUER, "claim": "uid"}]},
    "credential": {"provider": "mint", "key_file": "/nonexistent/jwt_hs256.key"},
    "forward": {"upstream": "http://127.0.0.1:6820"},
    "audit": {"sinks": [{"type": "stdout"}]},
}
"""The least that is valid. None of its files exists."""


def settings(changes: Settings | None = None) -> dict[str, Any]:
    """MINIMAL with changes laid over it; None takes a key away."""
    return merged(MINIMAL, changes or {})


def configuration(changes: Settings | None = None) -> Gateway:
    """The same as the model."""
    return validate(settings(changes))


def write_configuration(folder: Path, changes: Settings | None = None) -> Path:
    """The same as a file."""
    path = folder / "gateway.toml"
    path.write_text(to_toml(settings(changes)))
    return path


def usable(folder: Path, changes: Settings | None = None) -> dict[str, Any]:
    """Settings whose files exist in `folder`: an issuer with the key "k1" in a file, Slurm's key, a state directory."""
    state = folder / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [public_jwk("rsa:issuer")]}))
    slurm_key = folder / "jwt_hs256.key"
    if not slurm_key.exists():
        slurm_key.touch(mode=0o600)
        slurm_key.write_bytes(os.urandom(32))
    issuer = {**MINIMAL["authenticate"]["issuers"][0], "jwks_file": str(keys)}
    there = {
        "server": {"state_directory": str(state)},
        "authenticate": {"issuers": [issuer]},
        "credential": {"key_file": str(slurm_key)},
        "audit": {"sinks": [audit_sink(folder / "audit.jsonl")]},
    }
    return merged(settings(there), changes or {})


def token_for(user: str, seconds: float = 36_000, **claims: object) -> str:
    """A good token of the issuer of `usable`, whose claim `uid` is the user.

    Those that a module makes when it is imported outlive the whole run.
    """
    now = int(time.time())
    audience = "https://slurm.example.org"
    base = {"iss": ISSUER, "aud": audience, "sub": f"subject-of-{user}", "uid": user}
    times = {"iat": now, "exp": now + int(seconds)}
    return make_token(base_header(), {**base, **times, **claims}, "rsa:issuer")


def lines_in(audit: Path, *, is_growing: bool = False) -> list[dict[str, Any]]:
    """All lines of a file of the audit. `is_growing`: whoever reads meanwhile may see the last one by half."""
    text = audit.read_text()
    if is_growing:
        text = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in text.splitlines()]


def ends_in(audit: Path) -> list[dict[str, Any]]:
    """The last record of every request in it."""
    return [line for line in lines_in(audit) if line["event"] in ("end", "denied")]
