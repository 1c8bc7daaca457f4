"""The documents say what the code says."""

import re
from pathlib import Path

import pytest

from gateway.denial import Reason

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.code)
def test_every_code_stands_in_the_list_of_errors_and_has_its_page(reason: Reason) -> None:
    listed = (ROOT / "docs/errors.md").read_text()
    assert f"| {reason.status} | {reason.sentence} |" in listed
    assert f"errors/{reason.code}.md" in listed
    assert (ROOT / f"gateway/web/errors/{reason.code}.md").is_file()


def test_no_page_is_left_over_from_a_code_that_is_gone() -> None:
    pages = {path.stem for path in (ROOT / "gateway/web/errors").glob("*.md")}
    assert pages == {reason.code for reason in Reason}


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchor_of(heading: str) -> str:
    """As GitHub makes it: words and dashes only, blanks become dashes."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in _LINK.findall(page.read_text()):
        if ":" in target:
            continue
        other = page.parent / target if target else page
        if not other.exists():
            broken.append(target)
        elif anchor and anchor not in map(anchor_of, _HEADING.findall(other.read_text())):
            broken.append(target + anchor)
    assert broken == []
