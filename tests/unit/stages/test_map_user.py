"""MapUser: the first rule is final, nothing overrides what is forbidden, and nothing stale is used."""

import gc
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import ClusterUser
from gateway.stages.map_user import TABLE_SECONDS, Binding, MapUser
from gateway.users.accounts import Account, is_user_name
from gateway.users.rows import read_user_rows
from gateway.users.rules import FixedUser, FromClaim, FromTable, RoleRule, UserRule
from tests.fake_users import (
    ALICE,
    BOB,
    ROOT,
    SLURM,
    FakeBindings,
    FakeDirectory,
    FakeUserTable,
    FixedName,
)
from tests.fakes import ISSUER, FakeClock, make_identity

OTHER = "https://other.example.org"


def rule(
    source: Any, *, index: int = 0, issuer: str = ISSUER, bind: bool = False, **when: Any
) -> UserRule:
    return UserRule(f"map_user.rules[{index}]", issuer, when, source, binds_first_use=bind)


def map_user(
    *rules: UserRule,
    roles: Iterable[RoleRule] = (),
    directory: FakeDirectory | None = None,
    bindings: FakeBindings | None = None,
    forbidden: Iterable[str] = ("root", "slurm"),
    must_exist: bool = True,
    clock: FakeClock | None = None,
) -> MapUser:
    return MapUser(
        rules or (rule(FromClaim("preferred_username")),),
        tuple(roles),
        directory=directory or FakeDirectory(),
        bindings=bindings,
        forbidden_users=forbidden,
        minimum_uid=1000,
        must_exist=must_exist,
        monotonic=clock or FakeClock(),
    )


async def denial(stage: MapUser, **identity: Any) -> Denied:
    with pytest.raises(Denied) as caught:
        await stage(make_identity(**identity))
    return caught.value


async def test_the_user_carries_its_rule_its_role_and_what_nss_says() -> None:
    user = await map_user()(make_identity())
    assert user == ClusterUser("alice", ("user",), "map_user.rules[0]", 1001, 1001)


async def test_the_first_rule_whose_issuer_and_conditions_match_is_taken() -> None:
    stage = map_user(
        rule(FixedUser("bob"), issuer=OTHER),
        rule(FixedUser("bob"), index=1, client_id="ci"),
        rule(FromClaim("preferred_username"), index=2),
    )
    assert (await stage(make_identity())).rule == "map_user.rules[2]"
    assert (await stage(make_identity(client_id="ci"))).name == "bob"


@pytest.mark.parametrize(
    "claims",
    [{}, {"preferred_username": 7}, {"preferred_username": ""}, {"preferred_username": "#"}],
)
async def test_a_matching_rule_that_gives_no_name_never_falls_through(
    claims: dict[str, Any],
) -> None:
    stage = map_user(rule(FromClaim("preferred_username")), rule(FixedUser("bob"), index=1))
    refusal = await denial(stage, claims=claims)
    assert (refusal.reason, refusal.rule) == (Reason.USER_UNMAPPED, "map_user.rules[0]")


async def test_an_identity_that_no_rule_matches_is_unmapped() -> None:
    refusal = await denial(map_user(), issuer=OTHER)
    assert (refusal.reason, refusal.rule) == (Reason.USER_UNMAPPED, "map_user.rules")


async def test_a_machine_token_has_no_name_of_its_own() -> None:
    claims = {"sub": "ci", "preferred_username": "alice"}
    refusal = await denial(map_user(), kind="machine", client_id="ci", claims=claims)
    assert refusal.reason is Reason.USER_UNMAPPED


@pytest.mark.parametrize(
    "source",
    [
        FixedUser("bob"),
        FromTable(
            FakeUserTable(
                read_user_rows(
                    f'[[user]]\nissuer = "{ISSUER}"\nclaim = "client_id"\nvalue = "ci"\nuser = "bob"'
                )
            )
        ),
    ],
)
async def test_a_machine_token_is_mapped_by_a_fixed_or_table_rule(source: Any) -> None:
    machine = make_identity(kind="machine", subject="", client_id="ci", claims={})
    assert (await map_user(rule(source))(machine)).name == "bob"


ALIAS_OF_ROOT = Account("toor", 0, 0)
ALIAS_OF_SLURM = Account("slurm2", SLURM.uid, 5)
SYSTEM = Account("www-data", 33, 33)
EDGE = Account("first", 1000, 1000)
RESPELLED = Account("root", 1500, 1500)
NOBODY = Account("nobody", 65534, 65534)


@pytest.mark.parametrize(
    ("name", "reason", "by"),
    [
        ("root", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("slurm", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("nobody", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("toor", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("slurm2", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("respelled", Reason.USER_FORBIDDEN, "map_user.forbidden_users"),
        ("www-data", Reason.USER_FORBIDDEN, "map_user.minimum_uid"),
        ("nosuch", Reason.USER_UNKNOWN, "map_user.must_exist"),
        ("Alice", Reason.USER_UNMAPPED, "map_user.rules[0]"),
        ("alice\n", Reason.USER_UNMAPPED, "map_user.rules[0]"),
        ("", Reason.USER_UNMAPPED, "map_user.rules[0]"),
        ("1001", Reason.USER_UNMAPPED, "map_user.rules[0]"),
        ("a" * 33, Reason.USER_UNMAPPED, "map_user.rules[0]"),
    ],
)
async def test_no_source_overrides_what_is_forbidden(name: str, reason: Reason, by: str) -> None:
    directory = FakeDirectory(ROOT, SLURM, ALIAS_OF_ROOT, ALIAS_OF_SLURM, SYSTEM, NOBODY, ALICE)
    directory.accounts["respelled"] = RESPELLED
    refusal = await denial(map_user(rule(FixedName(name)), directory=directory))
    assert (refusal.reason, refusal.rule) == (reason, by)


async def test_root_is_forbidden_even_where_the_configuration_forgets_it_and_nss_knows_nobody() -> (
    None
):
    directory = FakeDirectory(ALICE)
    stage = map_user(rule(FixedName("root")), directory=directory, forbidden=(), must_exist=False)
    assert (await denial(stage)).reason is Reason.USER_FORBIDDEN


async def test_the_minimum_uid_itself_passes() -> None:
    stage = map_user(rule(FixedName("first")), directory=FakeDirectory(ROOT, EDGE))
    assert (await stage(make_identity())).uid == 1000


async def test_without_must_exist_an_unknown_user_passes_and_a_known_one_is_still_checked() -> None:
    directory = FakeDirectory(ROOT, ALIAS_OF_ROOT)
    unknown = map_user(rule(FixedName("alice")), directory=directory, must_exist=False)
    user = await unknown(make_identity())
    assert (user.name, user.uid, user.gid) == ("alice", None, None)
    known = map_user(rule(FixedName("toor")), directory=directory, must_exist=False)
    assert (await denial(known)).reason is Reason.USER_FORBIDDEN


@pytest.mark.parametrize("must_exist", [True, False])
async def test_doubt_of_the_directory_is_503_and_says_when_to_come_back(must_exist: bool) -> None:
    directory = FakeDirectory()
    directory.down = True
    refusal = await denial(map_user(directory=directory, must_exist=must_exist))
    assert refusal.reason is Reason.DIRECTORY_UNAVAILABLE
    assert dict(refusal.headers).keys() == {"Retry-After"}


async def test_doubt_about_a_forbidden_users_uid_is_doubt_about_everybody() -> None:
    class Half(FakeDirectory):
        async def lookup(self, name: str) -> Any:
            self.down = name == "slurm"
            return await super().lookup(name)

    refusal = await denial(map_user(directory=Half()))
    assert refusal.reason is Reason.DIRECTORY_UNAVAILABLE


def binding_stage(bindings: FakeBindings | None) -> MapUser:
    return map_user(rule(FromClaim("preferred_username"), bind=True), bindings=bindings)


async def test_the_first_subject_keeps_the_user_and_a_second_one_is_refused() -> None:
    bindings = FakeBindings()
    stage = binding_stage(bindings)
    assert (await stage(make_identity())).name == "alice"
    assert (await stage(make_identity())).name == "alice"
    assert (await denial(stage, subject="somebody-else")).reason is Reason.SUBJECT_CONFLICT
    assert bindings.held == [Binding(ISSUER, "subject-of-alice", "alice")]


async def test_a_binding_that_was_removed_is_noticed_within_a_second() -> None:
    """Otherwise the old subject and the one that binds the user next would both act as it."""
    clock, bindings, identity = FakeClock(), FakeBindings(), make_identity()
    bound = rule(FromClaim("preferred_username"), bind=True)
    stage = map_user(bound, bindings=bindings, clock=clock)
    await stage(identity)
    bindings.held = [Binding(ISSUER, "somebody-else", "alice")]
    clock.advance(TABLE_SECONDS)
    with pytest.raises(Denied) as caught:
        await stage(identity)
    assert caught.value.reason is Reason.SUBJECT_CONFLICT


async def test_a_bound_subject_that_comes_with_another_name_is_refused() -> None:
    stage = binding_stage(FakeBindings())
    await stage(make_identity())
    refusal = await denial(stage, claims={"preferred_username": "bob"})
    assert refusal.reason is Reason.SUBJECT_CONFLICT


async def test_a_refused_user_is_never_bound() -> None:
    bindings = FakeBindings()
    await denial(binding_stage(bindings), claims={"preferred_username": "root"})
    await denial(binding_stage(bindings), claims={"preferred_username": "nosuch"})
    assert bindings.held == []


async def test_a_binding_that_cannot_be_remembered_is_503() -> None:
    bindings = FakeBindings()
    bindings.down = True
    assert (await denial(binding_stage(bindings))).reason is Reason.DIRECTORY_UNAVAILABLE


@pytest.mark.parametrize(
    ("bindings", "subject"), [(None, "subject-of-alice"), (FakeBindings(), "")]
)
async def test_nothing_to_bind_or_nowhere_to_bind_it_is_a_refusal(
    bindings: FakeBindings | None, subject: str
) -> None:
    refusal = await denial(binding_stage(bindings), subject=subject)
    assert refusal.reason is Reason.USER_UNMAPPED


async def test_roles_come_from_rules_of_the_own_issuer_only_each_once_and_in_order() -> None:
    groups = ("hpc-operators", "hpc-admins")
    roles = (
        RoleRule(ISSUER, "operator", {"groups": "hpc-operators"}),
        RoleRule(OTHER, "stranger", {"groups": "hpc-operators"}),
        RoleRule(ISSUER, "admin", {"groups": "hpc-admins"}),
        RoleRule(ISSUER, "operator", {"groups": ("hpc-admins", "x")}),
        RoleRule(ISSUER, "user", {"groups": "hpc-admins"}),
        RoleRule(ISSUER, "absent", {"groups": "hpc"}),
    )
    user = await map_user(roles=roles)(make_identity(groups=groups))
    assert user.roles == ("user", "operator", "admin")


async def test_a_group_claim_that_authenticate_did_not_take_gives_no_role() -> None:
    roles = (RoleRule(ISSUER, "operator", {"groups": "hpc-operators"}),)
    claims = {"preferred_username": "alice", "groups": ["hpc-operators"]}
    assert (await map_user(roles=roles)(make_identity(claims=claims))).roles == ("user",)


async def test_one_identity_is_mapped_once_while_the_directorys_answer_is_good() -> None:
    clock, source, directory = FakeClock(), FixedName("alice"), FakeDirectory()
    directory.valid_until = clock.now + 60
    stage = map_user(rule(source), directory=directory, clock=clock)
    identity = make_identity()
    first = await stage(identity)
    clock.advance(59.9)
    assert await stage(identity) is first
    assert source.calls == 1
    clock.advance(0.1)
    del directory.accounts["alice"]
    with pytest.raises(Denied):
        await stage(identity)


async def test_two_identities_never_share_an_answer() -> None:
    stage = map_user()
    bob = make_identity(subject="subject-of-bob", claims={"preferred_username": "bob"})
    assert (await stage(make_identity())).name == "alice"
    assert (await stage(bob)).name == BOB.name


async def test_a_name_that_may_change_is_asked_for_again_within_a_second() -> None:
    clock, source = FakeClock(), FixedName("alice", may_change=True)
    stage = map_user(rule(source), clock=clock)
    identity = make_identity()
    await stage(identity)
    source.name = "bob"
    assert (await stage(identity)).name == "alice"
    clock.advance(TABLE_SECONDS)
    assert (await stage(identity)).name == "bob"


async def test_a_user_holds_while_it_is_remembered_and_for_its_identity_alone() -> None:
    clock, source = FakeClock(), FixedName("alice", may_change=True)
    stage = map_user(rule(source), clock=clock)
    identity, other = make_identity(), make_identity()
    user = await stage(identity)
    assert stage.holds(identity, user)
    assert not stage.holds(other, user)
    assert not stage.holds(identity, await stage(other))
    clock.advance(TABLE_SECONDS)
    assert not stage.holds(identity, user)


async def test_a_refusal_is_not_remembered() -> None:
    directory, identity = FakeDirectory(), make_identity()
    stage = map_user(directory=directory)
    directory.down = True
    with pytest.raises(Denied):
        await stage(identity)
    directory.down = False
    assert (await stage(identity)).name == "alice"


async def test_an_identity_that_is_gone_is_forgotten() -> None:
    stage = map_user()
    await stage(make_identity())
    gc.collect()
    assert len(stage._known) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
LIKELY = st.sampled_from(
    ["alice", "bob", "root", "ROOT", "slurm", "toor", "a@x", "root@example.org"]
)


@given(
    value=LIKELY | st.text() | JSON,
    source=st.sampled_from(
        [
            FromClaim("name"),
            FromClaim("name", lowercase=True),
            FromClaim("name", strip_domain=("example.org",), lowercase=True),
            FromClaim("name", pattern="(?P<user>[^@]*)(@.*)?"),
            FromClaim("name", pattern="(?s).*"),
        ]
    ),
    must_exist=st.booleans(),
)
async def test_any_claim_becomes_an_admissible_user_or_a_refusal(
    value: object, source: FromClaim, must_exist: bool
) -> None:
    directory = FakeDirectory(ROOT, SLURM, ALIAS_OF_ROOT, ALICE, BOB)
    stage = map_user(rule(source), directory=directory, must_exist=must_exist)
    user = None
    with suppress(Denied):
        user = await stage(make_identity(claims={"name": value}))
    if user is not None:
        assert is_user_name(user.name)
        assert user.name not in {"root", "slurm", "toor", "nobody"}
        assert user.uid is None or user.uid >= 1000
