"""options.tsv and untranslated.tsv -> docs/reference/sbatch-options.md. Run as python -m gateway.client.submit.page."""

import sys
from collections.abc import Iterator

from gateway.client.submit.table import Field, Option, read_options

_HEAD = """# Options of sbatch and their fields
Generated from the table that `slurm-gateway submit` translates by: `python -m gateway.client.submit.page`.

An option works on the command line, as a `#SBATCH` line and, where it has one, by its variable. One that has no field
in the API version that is used is an error with its line; none is ever dropped.

| option | variable | field, in the versions of the API |
|---|---|---|
"""
_LOCAL_HEAD = """
## Done by the client itself
| option | variable | |
|---|---|---|
"""
_LOCAL = {
    "export": "Which of this machine's variables are sent: none by default. ALL sends every one.",
    "ignore-pbs": "Nothing: #PBS lines are never read.",
    "parsable": "Prints the id alone.",
    "quiet": "Prints no `Submitted batch job`. `--parsable` and `--json` print, where sbatch is silent.",
    "verbose": "Nothing more is said; `--dry-run` prints what would be sent.",
    "wait": "Follows the job and exits with its code.",
    "wrap": "The command is the script.",
}
_NONE_HEAD = """
## That cannot be sent
| option | why |
|---|---|
"""


def render() -> str:
    """The page."""
    options = read_options().values()
    translated = [_row(one) for one in options if one.fields]
    local = [
        f"| {_name(one)} | {_code(one.variable)} | {_LOCAL[one.name]} |"
        for one in options
        if one.name in _LOCAL
    ]
    refused = [f"| {_name(one)} | {one.why} |" for one in options if one.why]
    parts = (_HEAD, _joined(translated), _LOCAL_HEAD, _joined(local), _NONE_HEAD, _joined(refused))
    return "".join(parts)


def _joined(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _row(option: Option) -> str:
    return f"| {_name(option)} | {_code(option.variable)} | {'; '.join(_fields(option))} |"


def _name(option: Option) -> str:
    return f"`--{option.name}`" + (f", `-{option.short}`" if option.short else "")


def _code(word: str) -> str:
    return f"`{word}`" if word else ""


def _fields(option: Option) -> Iterator[str]:
    for field in option.fields:
        last = f" to v0.0.{field.last}" if field.last != field.first else ""
        yield f"{', '.join(map(_code, _names(field)))} v0.0.{field.first}{last}"


def _names(field: Field) -> list[str]:
    """Where one option is several fields."""
    several = {
        "node-counts": ["minimum_nodes", "maximum_nodes", "nodes"],
        "cpus": ["cpus_per_task", "tres_per_task"],
        "signal": ["kill_warning_signal", "kill_warning_delay", "kill_warning_flags"],
        "switches": ["required_switches", "wait_for_switch"],
    }
    return [field.name] if field.name else several.get(field.form) or several[field.parse]


if __name__ == "__main__":
    sys.stdout.write(render())
