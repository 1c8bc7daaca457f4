"""(path, text) -> a file that nobody else can read, whole or not at all; and what a full disk is called."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.client.trouble import Exit, Trouble

_PRIVATE_FOLDER = 0o700


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file by this JSON, mode 0600. What stood there stays where that fails. Raises Trouble."""
    try:
        make_private_folder(path.parent)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Trouble(
            Exit.LOCAL_FILE,
            f"{path} cannot be written: {error.strerror}.",
            "make room, or put the client's files elsewhere with SLURM_GATEWAY_HOME",
        ) from None


def make_private_folder(path: Path) -> None:
    """With all that it lies in: `mkdir` gives its mode to the last one only. Raises OSError."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)


def read_private(path: Path, me: int | None = None) -> dict[str, Any]:
    """The file's JSON object; empty where there is no file. `me` is a user's number. Raises Trouble.

    A file of somebody else's could send one's tokens to a gateway or a provider of theirs.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _check_owner(os.fstat(file.fileno()), path, me)
            content = json.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Trouble(
            Exit.LOCAL_FILE, f"{path} cannot be read: {error.strerror}.", "check its owner and mode"
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Trouble(
            Exit.LOCAL_FILE, f"{path} is damaged.", f"remove it and sign in again: rm {path}"
        )
    return content


def _check_owner(found: os.stat_result, path: Path, me: int | None) -> None:
    if not hasattr(os, "geteuid"):  # Windows, where a profile's folders have lists of their own
        return
    if found.st_uid != (os.geteuid() if me is None else me):
        raise Trouble(
            Exit.LOCAL_FILE,
            f"{path} belongs to somebody else.",
            "remove it, or use a folder of your own with SLURM_GATEWAY_HOME",
        )


def read_secret_file(path: Path, what: str) -> str:
    """One secret of a file, without the line's end. Raises Trouble."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Trouble(
            Exit.NO_INPUT, f"{what} cannot be read from {path}: {why}.", "name another file"
        ) from None
    if not text:
        raise Trouble(Exit.NO_INPUT, f"{path} is empty; {what} should stand in it.")
    return text
