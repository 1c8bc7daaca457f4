"""Words as sbatch takes them on its command line or after #SBATCH -> options with their texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.client.submit.table import Option
from gateway.client.trouble import Exit, Trouble, printable

COMMAND_LINE = "the command line"
"""The place of what was typed."""


@dataclass(frozen=True, slots=True)
class Given:
    """One option as it was given, and where: "line 7", "the command line", "SBATCH_QOS"."""

    option: Option
    text: str
    place: str


def read_words(
    words: Sequence[str], options: Mapping[str, Option], place: str
) -> tuple[list[Given], list[str]]:
    """Options up to the first word that is none, and the rest. Raises Trouble.

    As getopt_long(3) does: --name=value or --name value, beginnings that fit one name only, -n4, -n 4,
    and flags together.
    """
    given: list[Given] = []
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            given.append(_long(word[2:], left, options, place))
        else:
            given += _short(word[1:], left, options, place)
    return given, left


def _long(word: str, left: list[str], options: Mapping[str, Option], place: str) -> Given:
    name, equals, text = word.partition("=")
    option = find_option(name, options, place)
    if option.argument == "none":
        if equals:
            raise _wrong(place, f"--{option.name} takes no value.")
        return Given(option, "", place)
    if equals or option.argument == "optional":
        return Given(option, text, place)
    return Given(option, _value(f"--{option.name}", left, place), place)


def _short(word: str, left: list[str], options: Mapping[str, Option], place: str) -> list[Given]:
    by_letter = {option.short: option for option in options.values() if option.short}
    given: list[Given] = []
    rest = word
    while rest:
        letter, rest = rest[0], rest[1:]
        option = by_letter.get(letter)
        if option is None:
            raise _wrong(place, f"sbatch has no option -{printable(letter)}.")
        if option.argument == "none":
            given.append(Given(option, "", place))
            continue
        value = rest or _value(f"-{letter}", left, place)
        return [*given, Given(option, value, place)]
    return given


def _value(name: str, left: list[str], place: str) -> str:
    if not left:
        raise _wrong(place, f"{name} needs a value.")
    return left.pop(0)


def find_option(name: str, options: Mapping[str, Option], place: str) -> Option:
    """By its name, or by a beginning that no other has. Raises Trouble."""
    if name in options:
        return options[name]
    fitting = [one for one in options if one.startswith(name)]
    if len(fitting) == 1:
        return options[fitting[0]]
    if fitting:
        among = ", ".join(f"--{one}" for one in fitting)
        raise _wrong(place, f"--{printable(name)} may be any of {among}.")
    near = get_close_matches(name, options, 1)
    remedy = f"did you mean --{near[0]}?" if near else ""
    raise _wrong(place, f"sbatch has no option --{printable(name)} that is known here.", remedy)


def _wrong(place: str, sentence: str, remedy: str = "") -> Trouble:
    return Trouble(wrong_at(place), f"{place}: {sentence}", remedy)


def wrong_at(place: str) -> Exit:
    """What somebody typed is another mistake than what stands in a file."""
    return Exit.WRONG_CALL if place == COMMAND_LINE else Exit.UNFIT_DATA
