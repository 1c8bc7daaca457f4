"""("v0.0.40-v0.0.45") -> VersionRange. slurmrestd's API versions are one number: 40 is v0.0.40."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_VERSION = r"v0\.0\.([1-9][0-9]{0,2})"
_RANGE = re.compile(rf"{_VERSION}(?:-{_VERSION})?")


@dataclass(frozen=True, slots=True)
class VersionRange:
    """The API versions from `first` to `last`, both included."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"{self} ends before it begins")

    @classmethod
    def parse(cls, text: str) -> "VersionRange":
        """Read "v0.0.40-v0.0.45" or "v0.0.40". Raises ValueError."""
        found = _RANGE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no range such as v0.0.40-v0.0.45")
        return cls(int(found[1]), int(found[2] or found[1]))

    @classmethod
    def parse_numbers(cls, text: str) -> "VersionRange":
        """Read "40-45" or "40", as the data files write it. Raises ValueError."""
        first, _, last = text.partition("-")
        return cls(int(first), int(last or first))

    def covers(self, version: int) -> bool:
        return self.first <= version <= self.last

    def overlap(self, other: "VersionRange") -> "VersionRange | None":
        first, last = max(self.first, other.first), min(self.last, other.last)
        return VersionRange(first, last) if first <= last else None

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __str__(self) -> str:
        first, last = version_text(self.first), version_text(self.last)
        return first if first == last else f"{first}-{last}"


def version_text(version: int) -> str:
    """40 -> "v0.0.40"."""
    return f"v0.0.{version}"
