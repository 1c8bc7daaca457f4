"""No body asks for what a role may not ask for, in whatever shape; the bodies are data."""

import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.edges.few_threads import FewThreads
from gateway.edges.spool import memory_body
from gateway.model import Admission, Target
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.fields import JOBS, Name, read_fields
from gateway.slurm_api.policy import Policy, parse_policy
from gateway.stages.authorize import Authorize
from gateway.stages.body_rules import BodyRules
from tests.examples import tried
from tests.fakes import FakeLease, make_identity, make_request, make_user
from tests.roles import Rules

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/bodies.toml").read_text("utf-8"))
EVERYTHING = ("SUBMIT", "ALLOCATE", "JOB-WRITE", "JOB-WRITE-BULK")
CATALOGUE = read_catalogue()
WHAT = {
    "submit": ("POST", "job/submit"),
    "allocate": ("POST", "job/allocate"),
    "update": ("POST", "job/7"),
    "bulk": ("DELETE", "jobs"),
    "requeue": ("POST", "jobs/requeue"),
}
DEPTH = 5000


def policy_of(**roles: Rules) -> Policy:
    policy, problems = parse_policy(roles, CATALOGUE)
    assert problems == []
    return policy


RULED = policy_of(user=Rules(allow=EVERYTHING, **CORPUS["rules"]))


def bytes_of(case: dict[str, Any]) -> bytes:
    if "bytes" in case:
        return bytes.fromhex(case["bytes"])
    if "repeat" in case:
        before, middle, after = case["repeat"]
        return str(before * DEPTH + middle + after * DEPTH).encode()
    return str(case["body"]).encode()


async def settle(
    policy: Policy,
    raw: bytes,
    *,
    what: str = "submit",
    version: str = "v0.0.42",
    media_type: str = "application/json",
    roles: tuple[str, ...] = ("user",),
) -> bytes:
    """What would be forwarded of this body. Raises Denied."""
    method, path = WHAT[what]
    request = make_request(
        method=method, target=Target(f"/slurm/{version}/{path}"), media_type=media_type
    )
    user = make_user(roles=roles)
    call = Authorize(CATALOGUE, policy)(request, make_identity(), user)
    assert call.has_body_rules
    by_role = {name: role.fields for name, role in policy.roles.items()}
    stage = BodyRules(by_role, FewThreads(1), memory_body, 1 << 24)
    body = memory_body(raw)
    settled = await stage(Admission(request, make_identity(), user, call, FakeLease()), body)
    return settled.read(settled.length)


@pytest.mark.parametrize("attack", CORPUS["refused"], ids=lambda attack: attack["why"])
async def test_a_body_that_asks_for_too_much_is_refused(attack: dict[str, Any]) -> None:
    options = {name: attack[name] for name in ("what", "version", "media_type") if name in attack}
    with pytest.raises(Denied) as refused:
        await settle(RULED, bytes_of(attack), **options)
    denied = refused.value
    assert denied.reason.code == attack.get("code", "field-forbidden")
    if denied.reason is Reason.FIELD_FORBIDDEN:
        assert denied.rule == "authorize.roles.user"
    if "field" in attack:
        assert denied.members == {"field": attack["field"]}
        assert denied.detail.startswith(f"{attack['field']} ")


@pytest.mark.parametrize("case", CORPUS["admitted"], ids=lambda case: case["why"])
async def test_a_body_within_the_rules_is_forwarded_byte_for_byte(case: dict[str, Any]) -> None:
    options = {name: case[name] for name in ("what", "version") if name in case}
    assert await settle(RULED, bytes_of(case), **options) == bytes_of(case)


@pytest.mark.parametrize("attack", CORPUS["refused"], ids=lambda attack: attack["why"])
async def test_a_large_body_is_judged_as_a_small_one(attack: dict[str, Any]) -> None:
    """Read in a thread by another reader; blanks around JSON mean nothing."""
    options = {name: attack[name] for name in ("what", "version", "media_type") if name in attack}
    with pytest.raises(Denied) as refused:
        await settle(RULED, bytes_of(attack) + b" " * 70_000, **options)
    assert refused.value.reason.code == attack.get("code", "field-forbidden")


async def test_a_body_that_is_too_large_to_be_judged_is_refused() -> None:
    with pytest.raises(Denied) as refused:
        await settle(RULED, b'{"script": "' + b"x" * 17_000_000 + b'"}')
    assert refused.value.reason is Reason.BODY_TOO_LARGE


# a property: whatever shape a body has, a forbidden name in it is found

JOB_NAMES = [
    (field.setting, name)
    for field in read_fields().by_setting.values()
    if field.group == JOBS
    for name in field.names
]
FORBIDDING = {
    setting: policy_of(user=Rules(allow=EVERYTHING, forbid_fields=[setting]))
    for setting, _ in JOB_NAMES
}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text("aZ01,-:% ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["set", "infinite", "number", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
harmless = st.dictionaries(st.sampled_from(["aa", "bb", "environmen", "Cc"]), values, max_size=3)


@st.composite
def spellings(draw: st.DrawFn, name: str) -> str:
    """The name in some mix of cases."""
    return "".join(char.upper() if draw(st.booleans()) else char for char in name)


@st.composite
def bodies(draw: st.DrawFn, name: Name) -> dict[str, Any]:
    """A body that has this name somewhere, in some container, beside other things."""
    job = draw(harmless) | {draw(spellings(name.text)): draw(values)}
    place = draw(st.sampled_from(["top", "job", "jobs", "hetjob", "deep"]))
    others = draw(st.lists(harmless, max_size=2))
    match place:
        case "top":
            return job
        case "job":
            return draw(harmless) | {draw(spellings("job")): job}
        case "deep":
            return {"job": {"aa": {"bb": [job]}}}
        case _:
            at = draw(st.integers(0, len(others)))
            return {draw(spellings(place)): [*others[:at], job, *others[at:]], "script": "#!"}


@tried(400)
@given(st.data())
async def test_no_body_that_carries_a_forbidden_field_is_admitted(data: st.DataObject) -> None:
    setting, name = data.draw(st.sampled_from(JOB_NAMES))
    body = data.draw(bodies(name))
    what = data.draw(st.sampled_from(["submit", "allocate", "update"]))
    number = data.draw(st.integers(41 if what == "allocate" else 35, 45))
    ascii_only = data.draw(st.booleans())
    raw = json.dumps(body, ensure_ascii=ascii_only).encode()
    with pytest.raises(Denied):
        await settle(FORBIDDING[setting], raw, what=what, version=f"v0.0.{number}")


VARIABLES = policy_of(user=Rules(allow=EVERYTHING, forbid_environment=["LD_*"]))


@tried(200)
@given(st.data())
async def test_no_environment_carries_a_forbidden_variable(data: st.DataObject) -> None:
    rest = data.draw(st.text("ABab_=", max_size=5))
    variable = f"{data.draw(spellings('ld_'))}{rest}"
    others = data.draw(st.lists(st.sampled_from(["PATH", "A", "a", "HOME"]), unique=True))
    shape = data.draw(st.sampled_from(["list", "object"]))
    names = data.draw(st.permutations([*others, variable]))
    entries: Any = [f"{name}=x" for name in names]
    if shape == "object":
        entries = dict.fromkeys(names, "x")
    where = data.draw(st.sampled_from(["environment", "spank_environment", "ENVIRONMENT"]))
    raw = json.dumps({"script": "#!", "job": {where: entries}}).encode()
    with pytest.raises(Denied) as refused:
        await settle(VARIABLES, raw)
    assert refused.value.reason is Reason.FIELD_FORBIDDEN


CAPPED = policy_of(user=Rules(allow=EVERYTHING, maximum={"time_limit": 60, "array": 100}))


@tried(300)
@given(
    values | st.from_regex(r"[0-9]{1,3}(-[0-9]{1,4})?(:[0-9]{1,2}){0,2}(%[0-9])?", fullmatch=True)
)
async def test_a_capped_value_is_within_its_cap_or_refused(value: Any) -> None:
    """Slurm's own reading of whatever passes is no larger: it is one of three plain forms."""
    raw = json.dumps({"script": "#!", "job": {"time_limit": value}}).encode()
    with suppress(Denied):
        await settle(CAPPED, raw)
        _assert_within_an_hour(value)


def _assert_within_an_hour(value: Any) -> None:
    if isinstance(value, dict):
        assert value.get("infinite") is not True
        value = value["number"]
    if isinstance(value, str) and not value.isdigit():
        days, _, rest = value.rpartition("-")
        parts = [int(part) for part in rest.split(":")]
        if not days and len(parts) < 3:
            parts = [0, *parts]
        parts += [0] * (3 - len(parts))
        seconds = (int(days or 0) * 24 + parts[0]) * 3600 + parts[1] * 60 + parts[2]
        assert 0 < seconds <= 3600
    else:
        assert 0 < int(value) <= 60
