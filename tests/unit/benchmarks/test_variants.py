"""A scene -> what is started: as many processes as are compared, and secrets where nobody else reads them."""

from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from benchmarks.identity import Provider
from benchmarks.scene import Backend, Scene, Variant
from benchmarks.variants import VARIANTS
from benchmarks.variants.express import PEERS, SOURCES, Express
from lab.store import StoreServer

TOKEN = "canary-of-the-slurm-token"
WITHOUT_NPM = [one for one in VARIANTS if not isinstance(one, Express)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two processes, so that what is one by default shows."""
    nowhere = tmp_path / "nowhere"
    provider = Provider(nowhere, nowhere, nowhere, nowhere, RSAKey.generate_key(2048))
    backend = Backend("stub", 1, "/", "/", "/", "nobody", TOKEN, nowhere)
    own = tmp_path / "own"
    own.mkdir()
    return Scene(own, backend, provider, 2, tls=False, processes=2, store=StoreServer(own))


@pytest.mark.parametrize("variant", WITHOUT_NPM, ids=lambda one: one.name)
def test_the_slurm_token_is_on_no_command_line_and_in_no_file_that_others_read(
    variant: Variant, scene: Scene
) -> None:
    launch = variant.launch(scene)
    assert TOKEN not in str(launch.command if launch else "")
    written = [path for path in scene.folder.rglob("*") if path.is_file()]
    holding = [path for path in written if TOKEN in path.read_text()]
    assert [path for path in holding if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize(
    ("name", "file", "setting"),
    [
        ("nginx", "nginx.conf", "worker_processes 2;"),
        ("haproxy", "haproxy.cfg", "nbthread 2"),
        ("gateway", "gateway.toml", "workers = 2"),
        ("gateway", "gateway.toml", "[store]"),
    ],
)
def test_two_processes_are_two_of_each_peers_own_kind(
    name: str, file: str, setting: str, scene: Scene
) -> None:
    next(one for one in VARIANTS if one.name == name).launch(scene)
    assert setting in (scene.folder / file).read_text()


def test_all_that_the_node_gateway_is_made_of_is_in_the_checkout() -> None:
    assert all((PEERS / name).is_file() for name in SOURCES)
