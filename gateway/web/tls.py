"""(certificate file, key file) -> a server's TLS context, and a new pair for a context in use."""

import os
import ssl
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

_OTHERS = 0o007


class TlsError(Exception):
    """The pair cannot be used; the text says why and holds nothing of the key."""


class Pair(NamedTuple):
    """A certificate chain and its private key, read once and seen to fit."""

    certificate: bytes
    key: bytes
    ends: datetime
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Pair(names={self.names}, ends={self.ends})"

    def days_left(self, now: float) -> float:
        """Days until the certificate ends; negative when it has."""
        return (self.ends - datetime.fromtimestamp(now, UTC)).total_seconds() / 86_400


def read_pair(certificate_file: Path, key_file: Path) -> Pair:
    """Read both files and see that they fit each other. Raises TlsError."""
    certificate, key = _read(certificate_file), _read(key_file)
    if key_file.stat().st_mode & _OTHERS:
        raise TlsError(f"{key_file} is open to every user: chmod o= {key_file}")
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise TlsError(f"{certificate_file} is no certificate chain in PEM") from error
    pair = Pair(certificate, key, leaf.not_valid_after_utc, _names(leaf))
    use_pair(_bare_context(), pair)
    return pair


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}") from error


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = extension.value.get_values_for_type(x509.DNSName)
    return (*names, *map(str, extension.value.get_values_for_type(x509.IPAddress)))


def new_context(pair: Pair) -> ssl.SSLContext:
    """TLS 1.2 or newer with forward secrecy, HTTP/1.1 only, no renegotiation."""
    context = _bare_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    use_pair(context, pair)
    return context


def _bare_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def use_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Give a context, also one that serves already, this pair. Raises TlsError.

    OpenSSL reads files only; memory files hold exactly the bytes that were checked, whatever
    becomes of the ones on disk in between.
    """
    with ExitStack() as stack:
        certificate = _memory_file(stack, pair.certificate)
        key = _memory_file(stack, pair.key)
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            reason = (error.reason or "unknown").lower().replace("_", " ")
            raise TlsError(f"certificate and key cannot be used: {reason}") from error


def _memory_file(stack: ExitStack, content: bytes) -> str:
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.write(descriptor, content)
    return f"/proc/self/fd/{descriptor}"


def _no_password() -> str:
    raise TlsError("the private key is encrypted: the gateway needs it without a password")
