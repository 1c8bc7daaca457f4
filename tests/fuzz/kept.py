"""tests/fuzz/corpus/<target>.jsonl <-> the inputs that are kept: one JSON text a line, a character for each byte."""

import json
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read_kept(name: str) -> list[bytes]:
    """All that is kept for a target; nothing where there is no file yet."""
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line).encode("latin-1") for line in path.read_text().splitlines()]


def write_kept(name: str, inputs: Iterable[bytes]) -> None:
    """The shortest first, each once, so that a change is a few lines."""
    ordered = sorted(set(inputs), key=lambda one: (len(one), one))
    lines = [json.dumps(one.decode("latin-1")) + "\n" for one in ordered]
    (FOLDER / f"{name}.jsonl").write_text("".join(lines))
