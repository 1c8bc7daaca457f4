"""An access token -> what it says of its bearer, unverified: the gateway alone decides what is true."""

import base64
import json
from collections.abc import Mapping
from typing import Any

_PARTS = 3
_NAMES = ("preferred_username", "username")


def unverified_claims(token: str) -> Mapping[str, Any]:
    """The claims of a JWT; empty where it is none, which an access token need not be."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return {}
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        content = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def likely_user(claims: Mapping[str, Any]) -> str:
    """The name that most gateways map to a Slurm user; empty where there is none."""
    return next((str(claims[name]) for name in _NAMES if claims.get(name)), "")
