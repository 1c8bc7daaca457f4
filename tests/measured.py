"""A test -> what it counted, as one JSON file in .lab/measured/, from which the page on reliability is written."""

import json
import os

from lab import places


def note(name: str, **counted: object) -> None:
    """Replace what was noted under this name. `counted` has at least `cases` and `failures`."""
    folder = places.state_root() / "measured"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{name}.{os.getpid()}.new"
    draft.write_text(json.dumps({"name": name, **counted}, indent=2, sort_keys=True) + "\n")
    draft.replace(folder / f"{name}.json")
