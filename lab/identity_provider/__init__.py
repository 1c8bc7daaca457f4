"""A real OpenID provider on loopback, and tokens from it by the flows that people and machines use."""

from __future__ import annotations

from lab.identity_provider.provider import AUDIENCE, IdentityProvider

__all__ = ["AUDIENCE", "IdentityProvider"]
