"""Options as given -> those that count: of each the last, and of those that rule each other out what sbatch takes."""

from collections.abc import Iterable

from gateway.client.submit.words import Given, wrong_at
from gateway.client.trouble import Trouble

_MEMORY = frozenset({"mem", "mem-per-cpu", "mem-per-gpu"})
_OPPOSITES = (frozenset({"requeue", "no-requeue"}), frozenset({"exclusive", "oversubscribe"}))
"""Two words for one setting: the later one counts, as in sbatch, which refuses the second pair since 24.11."""


def counting(given: Iterable[Given]) -> list[Given]:
    """In the order in which they were given last. Raises Trouble where sbatch would not choose either."""
    found: dict[str, Given] = {}
    for one in _one_memory(list(given)):
        for name in {one.option.name}.union(*_opposed(one.option.name)):
            found.pop(name, None)
        found[one.option.name] = one
    return list(found.values())


def _opposed(name: str) -> Iterable[frozenset[str]]:
    return (pair for pair in _OPPOSITES if name in pair)


def _one_memory(given: list[Given]) -> list[Given]:
    """A variable gives way to a word of another kind, in the script too; two kinds of words are refused.

    So does sbatch of 20.11 to 26.05 (measured).
    """
    asked = [one for one in given if one.option.name in _MEMORY]
    words = [one for one in asked if one.place != one.option.variable] or asked
    kinds = {one.option.name for one in words}
    if len(kinds) > 1:
        raise Trouble(
            wrong_at(words[-1].place),
            f"{words[-1].place}: --mem, --mem-per-cpu and --mem-per-gpu rule each other out.",
            f"leave all of {' and '.join(f'--{kind}' for kind in sorted(kinds))} out but one",
        )
    return [one for one in given if one.option.name not in _MEMORY - kinds]
