"""[server]: where the gateway listens and what it calls itself."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.section import (
    Bytes,
    Count,
    HttpsUrl,
    Listen,
    Network,
    Seconds,
    Section,
    UnixSocket,
    is_loopback_host,
)


class Server(Section):
    """Listeners, TLS, names and places."""

    listen: Listen
    """Where clients connect: "0.0.0.0:8443" or "unix:/run/slurm-gateway/gateway.sock"."""
    public_url: HttpsUrl
    """The URL that clients use, without a path; it is the resource of RFC 9728."""
    cluster: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """The one cluster this gateway serves; named in every audit record."""
    state_directory: Path
    """A directory of the gateway's own (0700) for spooled bodies, bindings and keys."""
    tls_certificate_file: Path | None = None
    """Certificate chain in PEM. Without it the gateway speaks plain HTTP, on loopback or a UNIX socket only."""
    tls_key_file: Path | None = None
    """Private key of the certificate in PEM, readable by the gateway's user only."""
    insecure_http: bool = False
    """Permit plain HTTP on a network address. Tokens then cross the network in the clear."""
    operations_listen: Listen | None = "127.0.0.1:8081"
    """Where /healthz, /readyz and /metrics are served; never on the public listener."""
    forward_auth_listen: UnixSocket | None = None
    """A UNIX socket that tells a proxy what to send to slurmrestd, tokens included; see docs/forward-auth.md."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks whose X-Forwarded-For is believed, walked from the right. A UNIX-socket peer counts as "unix"."""
    trust_unix_peer: bool = True
    """Believe X-Forwarded-For from whoever may open the gateway's UNIX socket."""
    socket_mode: int = Field(default=0o660, ge=0, le=0o777)
    """Permission bits of the gateway's UNIX socket (0o660 in TOML)."""
    header_seconds: Seconds = 10.0
    """How long a client may take to send a request's header."""
    keep_alive_seconds: Seconds = 75.0
    """How long an idle client connection stays open."""
    drain_seconds: Seconds = 30.0
    """How long running requests may take to finish after SIGTERM."""
    connections: Count = 4096
    """Client connections at the same time; further ones are closed."""
    workers: Annotated[int, Field(gt=0, le=128)] = 1
    """Processes that serve, each with its part of all connections and queues; more than one need [store]."""
    maximum_header_bytes: Bytes = 32768
    """A request's header fields may be this long together; more is 431."""
    maximum_header_fields: Count = 100
    """A request may have this many header fields; more is 431."""
    docs_page: bool = True
    """Serve /docs, where calls are tried in a browser, to who has signed in, or all with openapi_without_token."""

    @model_validator(mode="after")
    def _tls_or_private(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        is_private = self.listen.startswith("unix:") or is_loopback_host(self.listen_host)
        if self.tls_certificate_file is None and not (is_private or self.insecure_http):
            raise ValueError(
                f"{self.listen} is a network address and needs tls_certificate_file and"
                " tls_key_file (or insecure_http = true, if something else encrypts)"
            )
        return self

    @property
    def listen_host(self) -> str:
        """The host part of `listen`, without brackets; empty for a UNIX socket."""
        if self.listen.startswith("unix:"):
            return ""
        return self.listen.rpartition(":")[0].strip("[]")
