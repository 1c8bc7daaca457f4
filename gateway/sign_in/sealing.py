"""Key material and bytes -> the same bytes, encrypted and bound to what they are for; and back.

AES-256-GCM with a random nonce (NIST SP 800-38D). Each purpose has its own key, made by HKDF (RFC 5869),
and the context is authenticated with the bytes, so that what one row or cookie holds is nothing in another.
"""

import base64
import binascii
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_NONCE_BYTES = 12


class Unsealable(ValueError):
    """Not sealed by these keys for this purpose and context, or not whole."""


class Sealer:
    """One purpose. The first key seals, every key opens: that is how keys are replaced."""

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        if not keys:
            raise ValueError("no key")
        self._ciphers = [AESGCM(derived_key(key, purpose)) for key in keys]

    def seal(self, plain: bytes, context: str) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed. Raises Unsealable."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, context.encode())
            except (InvalidTag, ValueError):
                continue
        raise Unsealable("cannot be opened")


def derived_key(key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose."""
    info = f"slurm-gateway sign-in v1 {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


def read_keys(content: bytes) -> tuple[bytes, ...]:
    """The keys of a file with one in base64 on each line. Raises ValueError with words that follow its path."""
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not lines:
        raise ValueError("holds no key: openssl rand -base64 32")
    try:
        keys = tuple(base64.b64decode(line, validate=True) for line in lines)
    except binascii.Error:
        raise ValueError("has a line that is not base64: openssl rand -base64 32") from None
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"has a key that is not of {KEY_BYTES} bytes: openssl rand -base64 32")
    return keys
