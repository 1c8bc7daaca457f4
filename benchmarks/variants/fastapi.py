"""A scene -> FastAPI with httpx2 and PyJWT, one process of uvicorn, as people write a gateway in Python."""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

from benchmarks.identity import AUDIENCE, ISSUER
from benchmarks.scene import Launch, Scene

LIBRARIES = ("fastapi", "httpx2", "pyjwt", "uvicorn")
APPLICATION = "benchmarks.peers.fastapi_gateway:app"


@dataclass(frozen=True)
class FastAPIGateway:
    """The peer that an evening with the framework's documentation gives."""

    name: ClassVar[str] = "fastapi"
    verifies: ClassVar[bool] = True

    def launch(self, scene: Scene) -> Launch:
        """Serve with uvloop and httptools, which uvicorn takes where they are, and no access log."""
        command = [sys.executable, "-m", "uvicorn", APPLICATION, "--host", "127.0.0.1"]
        command += ["--port", str(scene.port), "--no-access-log", "--log-level", "warning"]
        return Launch(command, peer_environment(scene))


def versions() -> list[str]:
    """Return those of its libraries."""
    return [f"{name} {version(name)}" for name in LIBRARIES]


def peer_environment(scene: Scene) -> dict[str, str]:
    """What the peers that people write are told; not by arguments, which everybody may read."""
    return {
        "PORT": str(scene.port),
        "BACKEND": f"http://{scene.backend.address}",
        "JWKS_FILE": str(scene.provider.jwks_file),
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "SLURM_TOKEN": scene.backend.slurm_token,
    }
