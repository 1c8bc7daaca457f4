"""Tokens -> the system's keyring, or a file of mode 0600 where there is none; and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gateway.client.files import read_private, write_private
from gateway.client.trouble import Exit, Trouble, printable

_SERVICE = "slurm-gateway"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an identity provider gave; secrets, which the repr leaves out."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    """Seconds since 1970; 0 where the provider did not say."""

    def lasts(self, now: float, seconds: float) -> bool:
        """Whether it can be used for that long. One whose end is not known is tried."""
        return bool(self.access_token) and (not self.expires_at or self.expires_at > now + seconds)


class TokenStore(Protocol):
    """Where the tokens of one profile are. Methods raise Trouble."""

    def read(self) -> Tokens | None:
        """What was written last."""
        ...

    def write(self, tokens: Tokens) -> None:
        """Keep these instead."""
        ...

    def clear(self) -> None:
        """Keep none."""
        ...


class FileStore:
    """A file that nobody else can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Tokens | None:
        """See TokenStore."""
        return _tokens(read_private(self._path))

    def write(self, tokens: Tokens) -> None:
        """See TokenStore."""
        write_private(self._path, _content(tokens))

    def clear(self) -> None:
        """See TokenStore."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE, f"{self._path} cannot be removed: {error.strerror}."
            ) from None


class KeyringStore:
    """The system's keyring, by the keyring library, which is loaded only now: it takes its time."""

    def __init__(self, profile: str) -> None:
        import keyring
        from keyring.errors import KeyringError

        self._keyring, self._error = keyring, KeyringError
        self._profile = profile

    def read(self) -> Tokens | None:
        """See TokenStore."""
        try:
            text = self._keyring.get_password(_SERVICE, self._profile)
        except self._error as error:
            raise _locked(error) from None
        return _tokens(self._parsed(text)) if text else None

    def _parsed(self, text: str) -> Mapping[str, Any]:
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Trouble(
                Exit.LOCAL_FILE,
                f"What the keyring has for {_SERVICE}, {self._profile} is damaged.",
                "sign in again with: slurm-gateway login",
            )
        return content

    def write(self, tokens: Tokens) -> None:
        """See TokenStore. A keyring that is not there, or has no room for it, raises Trouble."""
        try:
            self._keyring.set_password(_SERVICE, self._profile, json.dumps(_content(tokens)))
        except (self._error, OSError) as error:
            raise _locked(error) from None

    def clear(self) -> None:
        """See TokenStore."""
        try:
            if self._keyring.get_password(_SERVICE, self._profile) is not None:
                self._keyring.delete_password(_SERVICE, self._profile)
        except self._error as error:
            raise _locked(error) from None


def store_of(kind: str, profile: str, folder: Path) -> TokenStore:
    """The store of a profile that was made with this kind."""
    return KeyringStore(profile) if kind == "keyring" else FileStore(folder / "tokens.json")


def keep_first(kind: str, profile: str, folder: Path, tokens: Tokens) -> str:
    """Write them where they belong, and say where: keyring or file. Raises Trouble.

    "auto" takes the keyring, and the file where there is no keyring that takes them.
    """
    if kind != "file":
        try:
            KeyringStore(profile).write(tokens)
        except Trouble:
            if kind == "keyring":
                raise
        else:
            FileStore(folder / "tokens.json").clear()
            return "keyring"
    FileStore(folder / "tokens.json").write(tokens)
    return "file"


def _content(tokens: Tokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_at": tokens.expires_at,
    }


def _tokens(content: Mapping[str, Any]) -> Tokens | None:
    access = content.get("access_token")
    if not isinstance(access, str) or not access:
        return None
    ends = content.get("expires_at")
    until = float(ends) if isinstance(ends, int | float) else 0.0
    return Tokens(access, str(content.get("refresh_token") or ""), until)


def _locked(error: Exception) -> Trouble:
    return Trouble(
        Exit.LOCAL_FILE,
        f"The system's keyring cannot be used: {printable(error) or type(error).__name__}.",
        "unlock it, or keep tokens in a file: slurm-gateway login --store file",
    )
