"""What tests have counted (.lab/measured/*.json) -> their table in docs/reliability.md."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import places
from soak.report import MarkersMissingError, write_between_markers

BEGIN = "<!-- measured:begin (python -m soak.measured writes what stands between the marks) -->"
END = "<!-- measured:end -->"
FOLDER = places.state_root() / "measured"
DOCUMENT = places.CHECKOUT / "docs" / "reliability.md"
_APART = ("name", "cases", "failures")


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Every count there is, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def as_markdown(counts: Sequence[Mapping[str, Any]]) -> str:
    """A row for each; whatever else was noted stands in the last column."""
    lines = ["| corpus | cases | failures | |", "|---|---:|---:|---|"]
    for count in counts:
        rest = "; ".join(f"{key} {_shown(count[key])}" for key in count if key not in _APART)
        lines.append(f"| {count['name']} | {count['cases']} | {count['failures']} | {rest} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(value[key])}" for key in value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> int:
    """0 when the table was written."""
    counts = read_all(FOLDER)
    if not counts:
        sys.stderr.write(f"nothing has been counted in {FOLDER}: run the tests first\n")
        return 1
    try:
        write_between_markers(DOCUMENT, as_markdown(counts), BEGIN, END)
    except MarkersMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
