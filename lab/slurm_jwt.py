"""(user, key) -> an HS256 token as slurmctld takes it, for asking slurmrestd directly."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def slurm_token(user: str, key: bytes, lifetime_seconds: int = 300) -> str:
    """A token with Slurm's claims sun, iat and exp (slurm.schedmd.com/jwt.html)."""
    now = int(time.time())
    claims = {"sun": user, "iat": now, "exp": now + lifetime_seconds}
    head = _base64url(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = _base64url(json.dumps(claims).encode())
    signature = hmac.new(key, head + b"." + body, hashlib.sha256).digest()
    return b".".join((head, body, _base64url(signature))).decode()
