"""[store]: the Valkey or Redis server in which several processes, on one machine or many, keep what they share."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from gateway.config.section import Count, Seconds, Section, check_listen

WhenAway = Literal["share", "refuse"]


def check_store_address(value: str) -> str:
    """unix:/absolute/path, tcp:HOST:PORT or tls:HOST:PORT."""
    kind, _, rest = value.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return value
    if kind not in ("tcp", "tls") or rest.startswith(("unix:", ":")):
        raise ValueError("must be unix:/absolute/path, tcp:HOST:PORT or tls:HOST:PORT")
    return check_listen(rest) and value


StoreAddress = Annotated[str, AfterValidator(check_store_address)]


class Store(Section):
    """Where it is, who the gateway is to it, and what holds while it is away. Needed for server.workers above 1."""

    address: StoreAddress | None = None
    """unix:/run/valkey/valkey.sock, tcp:HOST:PORT or tls:HOST:PORT; without it nothing is shared."""
    user: str = ""
    """The user of the server's access list; empty for its default user."""
    password_file: Path | None = None
    """The password, in a file that nobody but its owner may read; read anew for each connection."""
    ca_file: Path | None = None
    """PEM certificates of the authorities that may have issued the server's; the system's if left out."""
    certificate_file: Path | None = None
    """PEM certificate that the gateway shows to the server."""
    key_file: Path | None = None
    """Its private key; left out where it stands in the same file."""
    connections: Count = 16
    """Connections of each process to the server."""
    timeout_seconds: Seconds = 0.5
    """How long an answer may take, connecting included, before the server counts as away."""
    retry_seconds: Seconds = 1.0
    """How long a server that is away is left alone before it is tried again."""
    machines: Count = 1
    """Machines that share the server: while it is away, each process admits its part of every limit."""
    limits_when_away: WhenAway = "share"
    """Rates, while the server is away: each process's share of them, or refuse every request with 503."""
    lock_outs_when_away: WhenAway = "share"
    """Failed authentications meanwhile: a process's share of the attempts, or refuse tokens not yet seen with 503."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        is_tls = (self.address or "").startswith("tls:")
        for name in ("ca_file", "certificate_file", "key_file"):
            if getattr(self, name) is not None and not is_tls:
                raise ValueError(f"{name} needs an address that begins with tls:")
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("key_file needs certificate_file")
        if self.address is None and (self.user or self.password_file):
            raise ValueError("user and password_file need an address")
        return self
