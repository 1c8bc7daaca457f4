"""The bytes of a batch script -> its text, and its #SBATCH lines as sbatch reads them."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.client.submit.table import Option
from gateway.client.submit.words import Given, read_words
from gateway.client.trouble import Exit, Trouble

MAXIMUM_BYTES = 4 * 1024 * 1024
"""Slurm's own max_script_size, as it is where nobody changes it."""
_BOM = "\ufeff"
_MAGIC = "#SBATCH"
_SEPARATORS = frozenset({"hetjob", "packjob"})


@dataclass(frozen=True, slots=True)
class Script:
    """A text that Slurm runs, the options in it for each component, and what its author should know."""

    text: str
    components: tuple[tuple[Given, ...], ...]
    notes: tuple[str, ...] = ()


def read_script(content: bytes, name: str, options: Mapping[str, Option]) -> Script:
    """Raises Trouble, with the line where there is one."""
    text = _text(content, name)
    components: list[list[Given]] = [[]]
    for number, line in _directives(text):
        place = f"{name}, line {number}"
        words = _words(line, place)
        if words and words[0] in _SEPARATORS:
            components.append([])
            continue
        given, rest = read_words(words, options, place)
        if rest:
            raise Trouble(
                Exit.UNFIT_DATA,
                f"{place}: {rest[0]!r} belongs to no option.",
                "write options alone behind #SBATCH",
            )
        components[-1] += given
    return Script(text, tuple(map(tuple, components)), tuple(_ignored(text)))


def _text(content: bytes, name: str) -> str:
    if len(content) > MAXIMUM_BYTES:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name} has {len(content)} bytes; Slurm takes scripts of up to {MAXIMUM_BYTES}.",
            "put data into files that the script reads",
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Trouble(
            Exit.UNFIT_DATA, f"{name}, line {line}: it is not UTF-8.", "convert it with iconv"
        ) from None
    if text.startswith(_BOM):
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name} begins with a byte order mark, so that no shell would run it.",
            f"take it away: sed -i '1s/^\\xEF\\xBB\\xBF//' {name}",
        )
    if "\0" in text:
        raise Trouble(
            Exit.UNFIT_DATA, f"{name} has a NUL in it: it is no script.", "name a text file"
        )
    if "\r\n" in text:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name} has DOS line breaks (\\r\\n), which Slurm refuses.",
            f"convert it: dos2unix {name}",
        )
    if not text.startswith("#!"):
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name} does not begin with #! and an interpreter.",
            "begin it with: #!/bin/bash",
        )
    return text


def _directives(text: str) -> Iterator[tuple[int, str]]:
    """Up to the first line that is neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_MAGIC):
            yield number, line[len(_MAGIC) :]
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _ignored(text: str) -> Iterator[str]:
    read = {number for number, _ in _directives(text)}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_MAGIC) and number not in read:
            yield f"line {number} stands behind the first command, where sbatch ignores it too"


def _words(line: str, place: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{place}: a quotation mark is not closed.",
            "close it, or escape it: \\'",
        ) from None
