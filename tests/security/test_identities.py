"""Every identity of the corpus gets the answer that stands beside it, and never anything else."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.denial import Denied
from gateway.stages.map_user import Binding, MapUser
from gateway.users.accounts import Account
from gateway.users.rows import read_user_rows
from gateway.users.rules import FixedUser, FromClaim, FromTable, NameSource, UserRule
from tests.fake_users import ALICE, BOB, ROOT, SLURM, FakeBindings, FakeDirectory, FakeUserTable
from tests.fakes import ISSUER, FakeClock, make_identity

OTHER = "https://other.example.org"
CORPUS = tomllib.loads((Path(__file__).parent / "corpus" / "identities.toml").read_text())
IDENTITIES: list[dict[str, Any]] = CORPUS["identity"]
DIRECTORY = (
    ROOT,
    Account("toor", 0, 0),
    SLURM,
    Account("slurm-alias", SLURM.uid, 7),
    Account("www-data", 33, 33),
    Account("nobody", 65534, 65534),
    Account("svc_ci", 1500, 1500),
    Account("carol", 1003, 1003),
    Account("kate", 1004, 1004),
    ALICE,
    BOB,
)
TABLE = f"""
[[user]]
issuer = "{ISSUER}"
subject = "s-alice"
user = "alice"
[[user]]
issuer = "{ISSUER}"
subject = "s-root"
user = "root"
[[user]]
issuer = "{ISSUER}"
subject = "1"
user = "bob"
[[user]]
issuer = "{ISSUER}"
claim = "employee"
value = 7
user = "bob"
[[user]]
issuer = "{ISSUER}"
claim = "employee"
value = 1
user = "bob"
"""
CLAIM = "preferred_username"


def one(source: NameSource, *, bind: bool = False, **when: Any) -> list[UserRule]:
    return [UserRule("map_user.rules[0]", ISSUER, when, source, binds_first_use=bind)]


RULES: dict[str, list[UserRule]] = {
    "plain": one(FromClaim(CLAIM)),
    "lower": one(FromClaim(CLAIM, lowercase=True)),
    "domain": one(FromClaim(CLAIM, strip_domain=("example.org",), lowercase=True)),
    "pattern": one(FromClaim(CLAIM, pattern=r"(?P<user>[a-z]+)@example\.org")),
    "catastrophe": one(FromClaim(CLAIM, pattern=r"(?P<user>(x+x+)+)y")),
    "subject": one(FromClaim("sub")),
    "fixed": one(FixedUser("svc_ci"), client_id="ci"),
    "fixed-toor": one(FixedUser("toor"), sub="x"),
    "group": one(FixedUser("svc_ci"), groups="hpc-ci"),
    "verified": one(FromClaim(CLAIM), email_verified=True),
    "table": [
        *one(FromTable(FakeUserTable(read_user_rows(TABLE)))),
        UserRule("map_user.rules[1]", OTHER, {}, FromTable(FakeUserTable(read_user_rows(TABLE)))),
    ],
    "bound": [
        *one(FromClaim(CLAIM), bind=True),
        UserRule("map_user.rules[1]", OTHER, {}, FromClaim(CLAIM), binds_first_use=True),
    ],
}


def stage(rule: str) -> MapUser:
    bindings = FakeBindings()
    bindings.held = [Binding(ISSUER, "s-alice", "alice"), Binding(ISSUER, "s-bob", "bob")]
    return MapUser(
        RULES[rule],
        (),
        directory=FakeDirectory(*DIRECTORY),
        bindings=bindings,
        forbidden_users=("root", "slurm"),
        minimum_uid=1000,
        must_exist=True,
        monotonic=FakeClock(),
    )


@pytest.mark.parametrize("entry", IDENTITIES, ids=[entry["name"] for entry in IDENTITIES])
async def test_an_identity_gets_its_answer_and_no_other(entry: dict[str, Any]) -> None:
    fields = {
        name: entry[name] for name in ("issuer", "subject", "client_id", "kind") if name in entry
    }
    claims = entry["claims"] if "claims" in entry else {CLAIM: entry["claim"]}
    identity = make_identity(claims=claims, groups=tuple(entry.get("groups", ())), **fields)
    try:
        answer = (await stage(entry["rule"])(identity)).name
    except Denied as denied:
        answer = denied.reason.code
    assert answer == entry["answer"]


def test_the_corpus_is_large_and_without_twins() -> None:
    attacks = [entry for entry in IDENTITIES if not entry["name"].startswith("control")]
    assert len(attacks) >= 100
    assert not [name for name, count in Counter(e["name"] for e in IDENTITIES).items() if count > 1]
    assert all(entry["class"] in range(1, 35) for entry in IDENTITIES)
    assert set(RULES) == {entry["rule"] for entry in IDENTITIES}
