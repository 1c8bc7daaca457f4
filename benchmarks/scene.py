"""What a variant is given (a backend, keys, a port) and what it gives back (how to start it)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.identity import Provider
from lab.store import StoreServer


@dataclass(frozen=True)
class Backend:
    """A slurmrestd, real or stub, on loopback: where it listens and how it is authenticated to."""

    name: str
    port: int
    small_target: str
    large_target: str
    upload_target: str
    slurm_user: str
    slurm_token: str = field(repr=False)
    key_file: Path
    medium_target: str = ""

    @property
    def address(self) -> str:
        """Return host:port."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Scene:
    """Everything that a variant's configuration is written from."""

    folder: Path
    backend: Backend
    provider: Provider
    port: int
    tls: bool
    processes: int = 1
    store: StoreServer | None = None
    """What several processes of the gateway share; the peers need none."""
    cache: bool = False


@dataclass(frozen=True)
class Launch:
    """A command that listens on the scene's port."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Variant(Protocol):
    """One way from the client to slurmrestd."""

    @property
    def name(self) -> str:
        """Return the name in the tables and of the option --variant."""

    @property
    def verifies(self) -> bool:
        """Return whether a bad token must be refused."""

    def launch(self, scene: Scene) -> Launch | None:
        """Write the configuration into the scene's folder; None: the client goes to the backend."""


@dataclass(frozen=True)
class Endpoint:
    """Where the load goes, with the headers that this variant's callers send."""

    port: int
    tls: bool
    headers: Mapping[str, str] = field(repr=False)
    other_callers: Sequence[Mapping[str, str]] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """Return the origin."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
