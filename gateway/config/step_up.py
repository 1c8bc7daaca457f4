"""(step-up rules and roles, issuers) -> what asks for a sign-in that nobody can ever have."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from gateway.config.authenticate import Issuer
from gateway.config.authorize import Authorize, StepUp
from gateway.config.problem import Problem
from gateway.slurm_api import Catalogue
from gateway.slurm_api.policy import read_names


def find_impossible_rules(authorize: Authorize, catalogue: Catalogue) -> Iterator[Problem]:
    """Rules that hold for one operation and have no `acr` value in common: nobody could call it."""
    named = [_names_of(rule, catalogue) for rule in authorize.step_up]
    for (first, one), (second, other) in combinations(enumerate(authorize.step_up), 2):
        if not one.acr_values or set(one.acr_values) & set(other.acr_values):
            continue
        shared = sorted(named[first] & named[second])
        if other.acr_values and shared:
            what = f"has no value of authorize.step_up[{first}], and both hold for {shared[0]}"
            remedy = "nobody could call it: give both a value in common"
            yield Problem(f"authorize.step_up[{second}].acr_values", what, remedy)


def _names_of(rule: StepUp, catalogue: Catalogue) -> frozenset[str]:
    """The operations that it holds for, by their names."""
    names = set(read_names("", rule.operations, catalogue)[0])
    operations = [entry.operation for entry in catalogue.entries]
    return frozenset(one.name for one in operations if {one.name, one.risk.value} & names)


def find_unknowable_acr(authorize: Authorize, issuers: Sequence[Issuer]) -> Iterator[Problem]:
    """Amazon Cognito makes no `acr`, and its triggers cannot add one.

    https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-pre-token-generation.html
    """
    if any(issuer.profile != "cognito" for issuer in issuers):
        return
    what = "can be met by nobody: no token or session of Amazon Cognito has an acr"
    remedy = "ask for maximum_authentication_seconds, or require the second factor in the user pool"
    for index, rule in enumerate(authorize.step_up):
        if rule.acr_values:
            yield Problem(f"authorize.step_up[{index}].acr_values", what, remedy)
    for name, role in authorize.roles.items():
        if role.acr_values:
            yield Problem(f"authorize.roles.{name}.acr_values", what, remedy)
