"""The pictures in the documentation are there, small, and of every kind of page."""

import re
from pathlib import Path

import pytest

from tests.integration.page_tour import KINDS
from tests.integration.test_pages_in_chromium import IMAGES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_BYTES = 100_000
_IMAGE = re.compile(r"""!\[([^\]]*)\]\(([^)\s]+)\)|<img src="([^"]+)" alt="([^"]+)\"""")
_PNG = b"\x89PNG\r\n\x1a\n"


def images_in(page: Path) -> dict[Path, str]:
    """With what stands there for those who do not see them."""
    found = _IMAGE.findall(page.read_text())
    return {(page.parent / (url or tag)).resolve(): alt or text for alt, url, tag, text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_picture_that_a_document_shows_is_there_and_described(page: Path) -> None:
    for image, described in images_in(page).items():
        assert image.is_file(), f"{page.name} shows {image}"
        assert len(described) > 10, f"{image.name} in {page.name} says nothing to who cannot see it"


def test_each_kind_of_page_has_its_picture_and_none_is_left_over() -> None:
    shown = images_in(ROOT / "docs/sign-in.md")
    assert set(shown) == {IMAGES / f"{kind}.png" for kind in KINDS}
    assert set(IMAGES.iterdir()) == set(shown)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_a_small_png(kind: str) -> None:
    content = (IMAGES / f"{kind}.png").read_bytes()
    assert content.startswith(_PNG)
    assert len(content) < MOST_BYTES
