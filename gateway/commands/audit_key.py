"""A key file -> the initial key of a chain, as `audit init` has written it."""

import json
from pathlib import Path

import click

from gateway.audit_log.chain import KEY_BYTES

_MAXIMUM_BYTES = 4096


def read_key_file(path: Path) -> tuple[str, bytes]:
    """(the chain's id, its initial key). No error shows anything of the content."""
    try:
        with path.open("rb") as file:
            members = json.loads(file.read(_MAXIMUM_BYTES))
        chain, key = members["chain"], bytes.fromhex(members["key"])
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--key-file") from error
    except (ValueError, KeyError, TypeError):
        raise _no_key_file(path) from None
    if not isinstance(chain, str) or len(key) != KEY_BYTES:
        raise _no_key_file(path)
    if members.get("epoch", 0) != 0:
        raise click.BadParameter(
            f"{path} holds a later key; the initial one is needed", param_hint="--key-file"
        )
    return chain, key


def _no_key_file(path: Path) -> click.BadParameter:
    return click.BadParameter(
        f'{path} is no key file: {{"chain": "32 hex digits", "key": "64 hex digits"}}',
        param_hint="--key-file",
    )
