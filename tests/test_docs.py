"""The documents say what the code says."""

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
