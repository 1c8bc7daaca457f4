"""options.tsv and untranslated.tsv -> what sbatch's options are called, what they take, and which field each is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

_LOCAL = (
    ("export", "", "value", "SBATCH_EXPORT"),
    ("ignore-pbs", "", "none", ""),
    ("parsable", "", "none", ""),
    ("quiet", "Q", "none", ""),
    ("verbose", "v", "none", ""),
    ("wait", "W", "none", "SBATCH_WAIT"),
    ("wrap", "", "value", ""),
)
"""What the client does itself."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where an option goes in some versions, and how it is read and written there."""

    first: int
    last: int
    name: str
    """Empty where reading it gives several fields."""
    parse: str
    form: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option of sbatch."""

    name: str
    short: str
    argument: str
    """none, value, or optional: then with = only."""
    variable: str
    fields: tuple[Field, ...] = ()
    why: str = ""
    """Why it cannot be translated; empty where it can, or where the client itself does it."""

    def field_in(self, version: int) -> Field | None:
        """Its field in an API version; None where that has none."""
        return next((one for one in self.fields if one.first <= version <= one.last), None)


def read_options() -> Mapping[str, Option]:
    """All options by name."""
    made = {
        name: Option(name, short, argument, variable) for name, short, argument, variable in _LOCAL
    }
    for row in _rows("options.tsv"):
        before = made.get(row["option"])
        field = _field(row)
        made[row["option"]] = Option(
            row["option"],
            row["short"],
            row["argument"],
            row["variable"],
            (*(before.fields if before else ()), field),
        )
    for row in _rows("untranslated.tsv"):
        made[row["option"]] = Option(
            row["option"], row["short"], row["argument"], "", (), row["why"]
        )
    return dict(sorted(made.items()))


def _field(row: Mapping[str, str]) -> Field:
    first, _, last = row["versions"].partition("-")
    return Field(int(first), int(last or first), row["field"], row["parse"], row["form"])


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("gateway.client.submit").joinpath(name).read_text(encoding="utf-8")
    heading, *lines = text.splitlines()
    for line in lines:
        cells = ["" if cell == "-" else cell for cell in line.split("\t")]
        yield dict(zip(heading.split("\t"), cells, strict=True))
