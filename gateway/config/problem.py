"""What is wrong with a configuration: where, what, and how to mend it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple


class Problem(NamedTuple):
    """One mistake. `place` is a dotted setting such as "map_user.rules[0].when", or a file's line."""

    place: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.place}: {self.what}"
        return f"{line}\n    {self.remedy}" if self.remedy else line

    @property
    def on_one_line(self) -> str:
        """For a log."""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{self.place}: {self.what}{remedy}"


class ConfigurationError(Exception):
    """Every mistake that was found, at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def suggest(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known: the nearest one, or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known here: {', '.join(names)}" if names else "remove it"


def dotted(path: Sequence[str | int]) -> str:
    """("map_user", "rules", 0, "when") -> "map_user.rules[0].when"."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
