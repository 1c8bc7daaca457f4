"""(Identity, conditions of the configuration) -> whether the claims meet them."""

from collections.abc import Mapping

from gateway.model import Identity

Condition = str | bool | int | tuple[str, ...]
"""The value that a claim must have; of a tuple, one."""


def claim_of(identity: Identity, name: str) -> object:
    """A claim's value, None if absent; `client_id` and `groups` are the validated ones."""
    if name == "client_id":
        return identity.client_id
    if name == "groups":
        return identity.groups
    return identity.claims.get(name)


def meets(identity: Identity, conditions: Mapping[str, Condition]) -> bool:
    """Whether every condition holds: equality, or one element of an array, or one of a tuple."""
    return all(_holds(claim_of(identity, name), wanted) for name, wanted in conditions.items())


def _holds(claim: object, wanted: Condition) -> bool:
    present = claim if isinstance(claim, list | tuple) else (claim,)
    accepted = wanted if isinstance(wanted, tuple) else (wanted,)
    return any(_is_same(value, one) for value in present for one in accepted)


def _is_same(claim: object, wanted: str | bool | int) -> bool:
    # In Python True == 1; in JSON they are different claims. Nothing equals an empty condition.
    return type(claim) is type(wanted) and claim == wanted and wanted != ""
