"""A scene -> the gateway, every stage on, limits so high that they never refuse."""

import sys
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.identity import AUDIENCE, ISSUER
from benchmarks.scene import Launch, Scene
from lab.ports import free_port

CONFIGURATION = """\
[server]
listen = "127.0.0.1:{port}"
{tls}
public_url = "{scheme}://127.0.0.1:{port}"
operations_listen = "127.0.0.1:{operations_port}"
state_directory = "{state}"
cluster = "bench"
workers = {workers}

[[authenticate.issuers]]
issuer = "{issuer}"
audiences = ["{audience}"]
jwks_file = "{jwks}"

[[map_user.rules]]
issuer = "{issuer}"
claim = "preferred_username"
[map_user]
must_exist = true

[authorize.roles.user]
allow = ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE", "POST /slurmdb/*/qos"]

[limit]
concurrent_per_identity = 10000
[limit.rates]
read = "100000000/minute"
read-heavy = "100000000/minute"
submit = "100000000/minute"
job-write = "100000000/minute"
admin = "100000000/minute"

[credential]
provider = "mint"
key_file = "{key}"

[forward]
upstream = "http://{backend}"
connections = 64

[[audit.sinks]]
type = "file"
path = "{state}/audit.jsonl"
{more}"""

STORE = """
[store]
address = "unix:{socket}"
password_file = "{password_file}"
"""

CACHE = """
[cache]
enabled = true
"""


@dataclass(frozen=True)
class Gateway:
    """This project."""

    name: ClassVar[str] = "gateway"
    verifies: ClassVar[bool] = True

    def launch(self, scene: Scene) -> Launch:
        """Serve from a configuration that differs from an admin's in its limits only."""
        configuration = write_configuration(scene)
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", configuration]
        return Launch(command)


def write_configuration(scene: Scene) -> str:
    """Write gateway.toml into the scene's folder and return its path."""
    path, state = scene.folder / "gateway.toml", scene.folder / "state"
    state.mkdir(mode=0o700)
    text = CONFIGURATION.format(
        port=scene.port,
        operations_port=free_port(),
        state=state,
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks=scene.provider.jwks_file,
        key=scene.backend.key_file,
        backend=scene.backend.address,
        scheme="https" if scene.tls else "http",
        tls=_tls(scene),
        workers=scene.processes,
        more=_store(scene) + (CACHE if scene.cache else ""),
    )
    path.write_text(text)
    return str(path)


def _store(scene: Scene) -> str:
    if scene.store is None:
        return ""
    return STORE.format(socket=scene.store.socket, password_file=scene.store.password_file)


def _tls(scene: Scene) -> str:
    if not scene.tls:
        return ""
    certificate, key = scene.provider.certificate_file, scene.provider.private_key_file
    return f'tls_certificate_file = "{certificate}"\ntls_key_file = "{key}"'
