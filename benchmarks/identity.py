"""Nothing -> an identity provider's key in every form that the variants read, and one token.

The key is made anew for each run and never leaves the run's folder.
"""

import datetime as dt
import json
import os
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER = "https://idp.bench.example"
AUDIENCE = "https://slurm.bench.example"
KEY_ID = "bench-1"
LIFETIME_SECONDS = 7200
CALLERS = 8
TOKENS = 2000


@dataclass(frozen=True)
class Provider:
    """Where the key lies: JWKS, PEM of the public key, certificate with its private key."""

    jwks_file: Path
    public_key_file: Path
    certificate_file: Path
    private_key_file: Path
    signing_key: RSAKey

    def token(
        self, user: str, caller: int = 0, *, issuer: str = ISSUER, issued_ago_seconds: int = 0
    ) -> str:
        """Return an access token (RS256) of one of many callers who are this Slurm user."""
        now = int(time.time()) - issued_ago_seconds
        claims = {
            "iss": issuer,
            "sub": f"u-{caller}",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "client_id": "bench",
            "preferred_username": user,
        }
        return jwt.encode(
            {"alg": "RS256", "kid": KEY_ID, "typ": "at+jwt"}, claims, self.signing_key
        )


def make_provider(folder: Path) -> Provider:
    """Make a 2048-bit RSA key and write its forms into the folder."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = RSAKey.import_key(private, {"kid": KEY_ID, "alg": "RS256", "use": "sig"})
    provider = Provider(
        jwks_file=folder / "jwks.json",
        public_key_file=folder / "public.pem",
        certificate_file=folder / "certificate.pem",
        private_key_file=folder / "private.pem",
        signing_key=jwk,
    )
    provider.jwks_file.write_text(json.dumps({"keys": [jwk.as_dict(private=False)]}))
    provider.public_key_file.write_bytes(public)
    provider.certificate_file.write_bytes(_self_signed(key).public_bytes(Encoding.PEM))
    write_secret(provider.private_key_file, private)
    return provider


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _self_signed(key: RSAPrivateKey) -> x509.Certificate:
    """Return a certificate for loopback: Apache reads its key from one, and TLS cells need one."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
    )
