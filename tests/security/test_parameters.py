"""Parameters that attack slurmrestd are refused, though every operation is allowed to the caller."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.model import ClusterUser, Risk, Target
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.kinds import KINDS
from gateway.slurm_api.policy import Policy, RolePolicy
from gateway.slurm_api.versions import VersionRange
from gateway.stages.authorize import Authorize
from tests.fakes import make_identity, make_request

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/parameters.toml").read_text("utf-8"))
EVERYTHING = RolePolicy("user", dict.fromkeys(Risk, "all"), {}, VersionRange(35, 45))
STAGE = Authorize(read_catalogue(), Policy({"user": EVERYTHING}))


def refusal(method: str, path: str, query: list[list[str]]) -> Denied:
    target = Target(path, tuple((name, value) for name, value in query))
    request = make_request(method=method, target=target)
    with pytest.raises(Denied) as refused:
        STAGE(request, make_identity(), ClusterUser("alice", ("user",)))
    return refused.value


@pytest.mark.parametrize("attack", CORPUS["refused"], ids=lambda attack: attack["why"])
def test_an_attack_is_refused_by_its_kind(attack: dict[str, Any]) -> None:
    denied = refusal(attack.get("method", "GET"), attack["path"], attack.get("query", []))
    assert denied.reason.code == attack["code"]
    # What the client is told repeats no value of its own.
    for _, value in attack.get("query", []):
        assert len(value) < 4 or value not in denied.detail


@pytest.mark.parametrize("attack", CORPUS["slow"], ids=lambda attack: attack["why"])
def test_a_long_value_is_refused_without_backtracking(attack: dict[str, Any]) -> None:
    """At this length a quadratic pattern takes minutes and an exponential one for ever."""
    value = attack.get("head", "") + attack["unit"] * 4000 + attack["tail"]
    assert (
        refusal("GET", attack["path"], [[attack["name"], value]]).reason is Reason.PARAMETER_INVALID
    )
    pattern = next(
        parameter.kind.pattern
        for entry in read_catalogue().entries
        if entry.operation.template.replace("{version}", "v0.0.42") == attack["path"]
        for parameter in entry.query
        if parameter.name == attack["name"] and parameter.versions.covers(42)
    )
    assert pattern.fullmatch(value) is None  # without the limit of length


@pytest.mark.parametrize("attack", CORPUS["refused"], ids=lambda attack: attack["why"])
def test_the_same_path_without_the_attack_would_have_passed(attack: dict[str, Any]) -> None:
    """A corpus of paths that are refused anyway would prove nothing about parameters."""
    if attack["code"] == "operation-unlisted":
        assert STAGE.explain("GET", Target(attack["path"]), ["user"]).operation is None
        return
    explained = STAGE.explain(attack.get("method", "GET"), Target(attack["path"]), ["user"])
    assert explained.granted


def test_every_kind_has_a_length() -> None:
    for kind in KINDS.values():
        assert not kind.accepts("1" * 5000)
