"""What is wrong with what the configuration says of roles: where, what, and how to mend it."""

from typing import NamedTuple


class PolicyProblem(NamedTuple):
    """One mistake: the setting, what is wrong with it and how to mend it."""

    place: str
    what: str
    remedy: str
