"""What the sign-in asks of an identity provider, and the ways in which that can fail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.sign_in.flow import Flow
from gateway.token.refused import TokenRefused


class ProviderDoubt(Exception):
    """The provider cannot be asked, or gave no answer that can be read. The text is for the audit."""


class ProviderRefused(Exception):
    """The provider said no. `code` is its OAuth error code, in characters that can be shown."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AnswerRefused(TokenRefused):
    """What the provider sent is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer of a token endpoint, empty where it has none."""

    access_token: str = field(repr=False)
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)


class Provider(Protocol):
    """One provider, asked as one client. Methods raise ProviderDoubt, and ProviderRefused where it says no."""

    async def authorization_url(self, flow: Flow) -> str:
        """Where to send the browser."""
        ...

    async def names_itself(self) -> bool:
        """Whether its answers must carry `iss` (RFC 9207 section 2.4)."""
        ...

    async def redeem(self, code: str, verifier: str) -> Tokens:
        """Tokens for a code, which works once."""
        ...

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens; the refresh token is the old one where the provider did not replace it."""
        ...

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        """What it says of the person; nothing where it is not asked."""
        ...
