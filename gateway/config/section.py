"""What every section of the configuration has in common, and the value types that sections share."""

import ipaddress
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_LAST_PORT = 65535


class Section(BaseModel):
    """A frozen section that refuses unknown keys, so that a typo stops the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def is_loopback_host(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_https_url(value: str) -> str:
    """An https URL without user, query or fragment; http only on loopback."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an https:// URL")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        raise ValueError("must begin with https:// (http:// is accepted for localhost only)")
    if parts.query or parts.fragment or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("must have no user, query or fragment")
    return value


def check_listen(value: str) -> str:
    """HOST:PORT, [IPv6]:PORT or unix:/absolute/path."""
    if value.startswith("unix:"):
        if not value.removeprefix("unix:").startswith("/"):
            raise ValueError("a UNIX socket needs an absolute path: unix:/run/…")
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise ValueError("must be HOST:PORT or unix:/absolute/path")
    return value


def check_unix_socket(value: str) -> str:
    """unix:/absolute/path."""
    if not value.startswith("unix:"):
        raise ValueError("must be unix:/absolute/path: whoever reaches it gets Slurm tokens")
    return check_listen(value)


def check_network(value: str) -> str:
    """A network in CIDR form or one address."""
    ipaddress.ip_network(value, strict=True)
    return value


HttpsUrl = Annotated[str, AfterValidator(check_https_url)]
Listen = Annotated[str, AfterValidator(check_listen)]
UnixSocket = Annotated[str, AfterValidator(check_unix_socket)]
Network = Annotated[str, AfterValidator(check_network)]
Seconds = Annotated[
    float, Field(gt=0, le=timedelta(days=3650).total_seconds(), allow_inf_nan=False)
]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Condition = str | bool | int | tuple[str, ...]
"""What a claim must be: a value, or one of several."""
