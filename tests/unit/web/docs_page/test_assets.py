"""What is served of Swagger UI: exactly the locked version, with its licence, and nothing that calls elsewhere."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.web.docs_page.assets import read_assets, takes_gzip
from gateway.web.portal import build_portal
from lab.processes import LabError
from lab.swagger_ui import FOLDER, PACKED, PLAIN, lock_text, read_tarball

LOCK = tomllib.loads((FOLDER / "lock.toml").read_text())
STATIC = Path(__file__).parents[4] / "gateway/web/static"


def content_of(name: str) -> bytes:
    packed = FOLDER / f"{name}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (FOLDER / name).read_bytes()


def test_every_file_is_the_one_of_the_lock_file() -> None:
    found = {name: hashlib.sha256(content_of(name)).hexdigest() for name in (*PACKED, *PLAIN)}
    assert found == LOCK["sha256"]
    served = {path.name for path in FOLDER.iterdir()}
    assert served == {*(f"{name}.gz" for name in PACKED), *PLAIN, "lock.toml"}


def test_the_version_and_the_licence_are_what_the_lock_file_and_we_say() -> None:
    assert re.fullmatch(r"5\.[0-9]+\.[0-9]+", LOCK["version"])
    assert LOCK["version"].encode() in content_of("swagger-ui-bundle.js")
    assert LOCK["integrity"].startswith("sha512-")
    assert b"Apache License" in content_of("LICENSE")


def test_a_style_sheet_asks_for_nothing_from_elsewhere() -> None:
    """The policy of the page would not let it; this tells at an update."""
    for text in (content_of("swagger-ui.css").decode(), (STATIC / "docs.css").read_text()):
        assert "@import" not in text
        assert "@font-face" not in text
        urls = re.findall(r"url\(\s*[\"']?([^\"')]{0,20})", text)
        assert [url for url in urls if not url.startswith("data:")] == []


def test_our_own_script_keeps_nothing_and_writes_no_markup() -> None:
    text = (STATIC / "docs.js").read_text()
    for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "Storage", "cookie"):
        assert word not in text


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"gzip, deflate, br, zstd", True),
        (b"GZIP;q=0.5", True),
        (b"br, gzip;q=1", True),
        (b"", False),
        (b"br", False),
        (b"identity, gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"xgzip", False),
    ],
)
def test_gzip_goes_to_those_who_take_it(field: bytes, expected: bool) -> None:
    assert takes_gzip(field) is expected


async def test_files_are_served_at_addresses_that_change_with_them_and_may_be_kept() -> None:
    portal = build_portal("https://slurm.example.org", "lab", [], has_docs=True)
    transport = httpx2.ASGITransport(app=portal)
    assets = read_assets()
    async with httpx2.AsyncClient(transport=transport, base_url="https://slurm") as client:
        for asset in (assets.swagger_script, assets.swagger_style, assets.script, assets.style):
            plain = await client.get(asset.path, headers={"Accept-Encoding": "identity"})
            packed = await client.get(asset.path, headers={"Accept-Encoding": "gzip"})
            assert plain.content == packed.content, "the same, whatever way it came"
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert packed.headers["vary"] == "Accept-Encoding"
            assert packed.headers["x-content-type-options"] == "nosniff"
            other = asset.path.replace(asset.path.split("/")[3], "0" * 16)
            assert (await client.get(other)).status_code == 404


def tarball(folder: Path, **about: Any) -> Path:
    path = folder / "swagger-ui-dist.tgz"
    files = {name: name.encode() for name in (*PACKED, *PLAIN)}
    said = {"version": "5.99.0", "license": "Apache-2.0", **about.pop("said", {})}
    files["package.json"] = json.dumps(said).encode()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            if name in about.get("without", ()):
                continue
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_an_update_locks_what_it_took(tmp_path: Path) -> None:
    lock = tomllib.loads(lock_text(read_tarball(tarball(tmp_path))))
    assert lock["version"] == "5.99.0"
    assert lock["sha256"]["NOTICE"] == hashlib.sha256(b"NOTICE").hexdigest()
    assert set(lock) == set(LOCK)


@pytest.mark.parametrize("changed", [{"without": ("NOTICE",)}, {"said": {"license": "UNLICENSED"}}])
def test_a_package_that_lost_a_file_or_changed_its_licence_is_not_taken(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    with pytest.raises(LabError):
        read_tarball(tarball(tmp_path, **changed))
