"""Files of secrets for the sign-in -> their values: encryption keys once, a client's credentials as they are now."""

import os
from functools import partial
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.edges.edited_file import FileUnusable
from gateway.edges.few_threads import FewThreads
from gateway.edges.secret_file import OpenedFile, SecretFile, is_inside, read_regular_file
from gateway.edges.signing_key import describe_exposure
from gateway.model import Secret
from gateway.sign_in.sealing import read_keys

_MAXIMUM_BYTES = 16_384
_MODES = frozenset({0o400, 0o600})
_MAXIMUM_SECRET_CHARACTERS = 1024


def read_encryption_keys(path: Path, credentials_directory: Path | None) -> tuple[bytes, ...]:
    """The keys that seal sessions, the first in use first. Raises FileUnusable. Blocks."""
    try:
        opened = read_regular_file(path, _MAXIMUM_BYTES)
        _check(opened, credentials_directory)
        return read_keys(opened.content)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileUnusable(f"{path} {error}") from error


def client_secret_file(path: Path, credentials_directory: Path | None) -> SecretFile[Secret]:
    """A client's secret, read again when it changes."""
    read = partial(_read_secret, directory=credentials_directory)
    return SecretFile(path, read, FewThreads(1), maximum_bytes=_MAXIMUM_BYTES)


def private_key_file(path: Path, credentials_directory: Path | None) -> SecretFile[RSAKey | ECKey]:
    """A client's private key, the same."""
    read = partial(_read_private_key, directory=credentials_directory)
    return SecretFile(path, read, FewThreads(1), maximum_bytes=_MAXIMUM_BYTES)


def _check(opened: OpenedFile, directory: Path | None) -> None:
    modes = None if is_inside(opened.path, directory) else _MODES
    problem = describe_exposure(opened.path, opened.status, modes, os.geteuid())
    if problem:
        raise ValueError(problem)


def _read_secret(opened: OpenedFile, directory: Path | None) -> Secret:
    _check(opened, directory)
    try:
        text = opened.content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("is not ASCII text") from None
    if not 0 < len(text) <= _MAXIMUM_SECRET_CHARACTERS or not text.isprintable():
        raise ValueError("is not one line with a secret")
    return Secret(text)


def _read_private_key(opened: OpenedFile, directory: Path | None) -> RSAKey | ECKey:
    _check(opened, directory)
    for kind in (RSAKey, ECKey):
        try:
            key = kind.import_key(opened.content)
        except (JoseError, ValueError):
            continue
        if key.is_private:
            return key
    raise ValueError("is no RSA or EC private key in PEM")
