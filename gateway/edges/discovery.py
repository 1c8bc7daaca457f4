"""An issuer's URL -> the bytes of its JWK Set, over HTTPS, within 5 seconds and 256 KiB.

Redirects are not followed, proxies and credentials of the environment are not used, and nothing
of a token ever decides on a URL (OpenID Connect Discovery section 4, RFC 8414 section 3).
"""

import asyncio
import ipaddress
import re
import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import httpx2

from gateway.token.strict_json import JsonRefused, read_object

TIMEOUT_SECONDS = 5.0
MAXIMUM_DOCUMENT_BYTES = 262_144
_OK = 200
_MAXIMUM_ERROR = 240
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_PLAIN = re.compile(r"[!\"$-~]+")
"""Visible ASCII without a fragment: such a URL also stands in header fields that browsers get."""


class FetchFailed(Exception):
    """A key set could not be had; the message says from where and why."""


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS to a provider: by its own authority, or by the system's.

    Raises OSError where the file cannot be read (ssl.SSLError is one).
    """
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def open_client(tls: ssl.SSLContext) -> httpx2.AsyncClient:
    """A new one for each fetch, minutes apart: it keeps no cookie and follows a change in DNS.

    It has no time limit of its own: whoever fetches has one for all of it.
    """
    return httpx2.AsyncClient(
        verify=tls,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # see above
        # identity, so that the cap on bytes is a cap on what is unpacked
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


class KeyEndpoint:
    """Where one issuer's keys are: at `jwks_url`, or where its metadata says."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        issuer: str,
        jwks_url: str | None = None,
        discovery: Literal["oidc", "rfc8414"] = "oidc",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._tls = tls
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._metadata_url = metadata_url(issuer, discovery)
        self._timeout = timeout_seconds

    async def fetch(self) -> bytes:
        """The JWK Set as it came. Raises FetchFailed."""
        try:
            async with asyncio.timeout(self._timeout), self._open_client() as client:
                return await get_document(client, self._jwks_url or await self._discover(client))
        except TimeoutError:
            raise FetchFailed(f"{self._issuer}: no answer in {self._timeout:.0f} s") from None

    def _open_client(self) -> httpx2.AsyncClient:
        return open_client(self._tls)

    async def _discover(self, client: httpx2.AsyncClient) -> str:
        """The jwks_uri of the metadata, whose issuer must be ours to the letter."""
        try:
            metadata = read_object(await get_document(client, self._metadata_url))
        except JsonRefused as refused:
            raise FetchFailed(f"{self._metadata_url}: {refused}") from None
        if metadata.get("issuer") != self._issuer:
            raise FetchFailed(f"{self._metadata_url}: names another issuer")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str) or not is_fetchable(url, self._issuer):
            raise FetchFailed(f"{self._metadata_url}: jwks_uri is not an https URL")
        client.cookies.clear()
        return url


async def get_document(client: httpx2.AsyncClient, url: str) -> bytes:
    """What stands there, with status 200 and within the cap. Raises FetchFailed."""
    try:
        async with client.stream("GET", url) as response:
            return await _read_document(response, url)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise FetchFailed(f"{url}: {_one_line(error)}") from None


async def _read_document(response: httpx2.Response, url: str) -> bytes:
    if response.status_code != _OK:
        raise FetchFailed(f"{url}: status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed(f"{url}: the answer is encoded")
    document = bytearray()
    async for chunk in response.aiter_raw():
        document += chunk
        if len(document) > MAXIMUM_DOCUMENT_BYTES:
            raise FetchFailed(f"{url}: more than {MAXIMUM_DOCUMENT_BYTES} bytes")
    return bytes(document)


def _one_line(error: Exception) -> str:
    """The error without line breaks and of bounded length: part of it may be the other side's."""
    return f"{type(error).__name__} {' '.join(str(error).split())}".strip()[:_MAXIMUM_ERROR]


def metadata_url(issuer: str, discovery: Literal["oidc", "rfc8414"]) -> str:
    """OpenID Connect appends its well-known suffix to the issuer; RFC 8414 inserts its own before the path."""
    parts = urlsplit(issuer)
    path = parts.path.removesuffix("/")
    if discovery == "oidc":
        path += "/.well-known/openid-configuration"
    else:
        path = "/.well-known/oauth-authorization-server" + path
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def is_fetchable(url: str, issuer: str) -> bool:
    """Whether keys may be fetched there: https, or http between loopback addresses.

    Another host than the issuer's is common (Google's keys are on one); the metadata came from the
    issuer itself.
    """
    try:
        parts, from_parts = urlsplit(url), urlsplit(issuer)
        hosts = [parts.hostname, from_parts.hostname]
    except ValueError:
        return False
    if (
        not parts.hostname
        or not _HOST_AND_PORT.fullmatch(parts.netloc)
        or not _PLAIN.fullmatch(url)
    ):
        return False
    if parts.scheme == "https":
        return True
    return parts.scheme == from_parts.scheme == "http" and all(map(_is_loopback, hosts))


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
