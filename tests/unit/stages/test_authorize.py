"""Who may call what: roles, classes, versions, and that what is admitted says what it seems to."""

import re
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, ClusterUser, Risk, Target
from gateway.slurm_api import Entry, raised_risk, read_catalogue
from gateway.slurm_api.kinds import KINDS, Kind
from gateway.slurm_api.policy import DEFAULT_ALLOW, Policy, parse_policy, reachable
from gateway.stages.authorize import Authorize
from tests.examples import tried
from tests.fakes import make_identity, make_request
from tests.roles import Rules

CATALOGUE = read_catalogue()
NAMES = [entry.operation.name for entry in CATALOGUE.entries]
Query = tuple[tuple[str, str], ...]


EVERYTHING = Rules(allow=[risk.value for risk in Risk])
USER = Rules(allow=[*DEFAULT_ALLOW])
OPERATOR = Rules(
    allow=["READ-ACCOUNTING", "READ-SENSITIVE", "JOB-WRITE-BULK", "POST /slurm/*/reservation"],
    deny=["GET /slurm/*/shares"],
    versions="v0.0.40-v0.0.45",
)


def entry_named(name: str) -> Entry:
    return CATALOGUE.entries[NAMES.index(name)]


def policy_of(**roles: Rules) -> Policy:
    policy, problems = parse_policy(roles, CATALOGUE)
    assert problems == []
    return policy


def stage(**roles: Rules) -> Authorize:
    return Authorize(CATALOGUE, policy_of(**roles))


CONFIGURED = stage(user=USER, operator=OPERATOR)
ALLOWING = stage(user=EVERYTHING)


def ask(
    authorize: Authorize,
    method: str,
    path: str,
    query: Query = (),
    roles: tuple[str, ...] = ("user",),
) -> AuthorizedCall:
    request = make_request(method=method, target=Target(path, query))
    return authorize(request, make_identity(), ClusterUser("alice", roles))


def refusal(
    authorize: Authorize,
    method: str,
    path: str,
    query: Query = (),
    roles: tuple[str, ...] = ("user",),
) -> Denied:
    with pytest.raises(Denied) as refused:
        ask(authorize, method, path, query, roles)
    return refused.value


@pytest.mark.parametrize(
    ("method", "path", "risk", "job_ids"),
    [
        ("GET", "/slurm/v0.0.45/jobs", Risk.READ_HEAVY, ()),
        ("GET", "/slurm/v0.0.35/job/7", Risk.READ, ("7",)),
        ("POST", "/slurm/v0.0.38/job/submit", Risk.SUBMIT, ()),
        ("POST", "/slurm/v0.0.38/job/7", Risk.JOB_WRITE, ("7",)),
        ("DELETE", "/slurm/v0.0.42/job/7_1", Risk.JOB_WRITE, ("7_1",)),
        ("GET", "/slurm/v0.0.45/job/7/requeue", Risk.JOB_WRITE, ("7",)),
        ("GET", "/slurmdb/v0.0.42/job/7", Risk.READ_HEAVY, ("7",)),
        ("GET", "/openapi/v3", Risk.READ_HEAVY, ()),
    ],
)
def test_everybody_reads_submits_changes_and_cancels_jobs(
    method: str, path: str, risk: Risk, job_ids: tuple[str, ...]
) -> None:
    call = ask(CONFIGURED, method, path)
    assert (call.risk, call.job_ids, call.target) == (risk, job_ids, path.encode())
    assert call.rule == f"authorize.roles.user.allow[{risk}]"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/slurm/v0.0.42/reconfigure"),
        ("POST", "/slurm/v0.0.42/job/allocate"),
        ("DELETE", "/slurm/v0.0.42/jobs"),
        ("POST", "/slurm/v0.0.42/node/n1"),
        ("GET", "/slurm/v0.0.42/shares"),
        ("GET", "/slurm/v0.0.45/conf"),
        ("GET", "/slurmdb/v0.0.42/users"),
        ("GET", "/slurmdb/v0.0.42/config"),
        ("POST", "/slurmdb/v0.0.42/users"),
        ("POST", "/slurmdb/v0.0.44/job/7"),
        ("POST", "/util/v0.0.44/hostlist"),
        ("GET", "/slurm/v0.0.46/jobs"),
        ("GET", "/slurm/v0.0.42/jobz"),
        ("GET", "/slurm"),
        ("POST", "/slurm/v0.0.42/jobs"),
    ],
)
def test_everything_else_is_operation_unlisted(method: str, path: str) -> None:
    assert refusal(CONFIGURED, method, path).reason is Reason.OPERATION_UNLISTED


@pytest.mark.parametrize(
    ("method", "path", "roles", "rule"),
    [
        ("GET", "/slurm/v0.0.46/jobs", ("user",), "catalogue"),
        ("POST", "/slurm/v0.0.43/reservation", ("user",), "authorize.roles"),
        ("POST", "/slurm/v0.0.43/reservation", ("unknown",), "authorize.roles"),
        ("POST", "/slurm/v0.0.43/reservation", (), "authorize.roles"),
        (
            "GET",
            "/slurm/v0.0.42/shares",
            ("user", "operator"),
            "authorize.roles.operator.deny[GET /slurm/*/shares]",
        ),
        ("GET", "/slurmdb/v0.0.38/users", ("user", "operator"), "authorize.roles"),
    ],
)
def test_a_refusal_names_its_rule(
    method: str, path: str, roles: tuple[str, ...], rule: str
) -> None:
    denied = refusal(CONFIGURED, method, path, roles=roles)
    assert (denied.reason, denied.rule) == (Reason.OPERATION_UNLISTED, rule)
    assert denied.detail == Reason.OPERATION_UNLISTED.sentence


def test_a_role_adds_to_what_everybody_may_do() -> None:
    both = ("user", "operator")
    call = ask(CONFIGURED, "POST", "/slurm/v0.0.43/reservation", roles=both)
    assert call.rule == "authorize.roles.operator.allow[POST /slurm/*/reservation]"
    assert ask(CONFIGURED, "GET", "/slurmdb/v0.0.40/users", roles=both).risk is Risk.READ_ACCOUNTING
    assert refusal(CONFIGURED, "POST", "/slurm/v0.0.43/reservations", roles=both)


def test_a_parameter_that_raises_the_class_needs_the_higher_class() -> None:
    query = (("show_batch_script", "true"),)
    path = "/slurmdb/v0.0.42/jobs"
    assert refusal(CONFIGURED, "GET", path, query).reason is Reason.OPERATION_UNLISTED
    assert ask(CONFIGURED, "GET", path, query, ("operator",)).risk is Risk.READ_SENSITIVE
    by_name = stage(user=Rules(allow=["GET /slurmdb/*/jobs"]))
    assert ask(by_name, "GET", path).rule == "authorize.roles.user.allow[GET /slurmdb/*/jobs]"
    assert refusal(by_name, "GET", path, query).reason is Reason.OPERATION_UNLISTED
    base_denied = stage(user=Rules(allow=["READ-SENSITIVE"], deny=["READ-HEAVY"]))
    assert refusal(base_denied, "GET", path, query).rule == "authorize.roles.user.deny[READ-HEAVY]"


def test_a_deny_holds_outside_the_versions_of_its_role() -> None:
    limited = Rules(deny=["GET /slurm/*/jobs"], versions="v0.0.45")
    denied = refusal(
        stage(user=USER, guest=limited), "GET", "/slurm/v0.0.38/jobs", (), ("user", "guest")
    )
    assert denied.rule == "authorize.roles.guest.deny[GET /slurm/*/jobs]"


def test_a_versions_range_leaves_the_unversioned_documents_alone() -> None:
    assert ask(stage(user=Rules(allow=["READ-HEAVY"], versions="v0.0.45")), "GET", "/openapi")


def test_an_operation_that_is_not_allowed_is_refused_before_its_parameters_are_read() -> None:
    denied = refusal(CONFIGURED, "DELETE", "/slurm/v0.0.42/node/n..1", (("x", "y"),))
    assert denied.reason is Reason.OPERATION_UNLISTED


def test_all_mistakes_of_a_policy_are_found_at_once() -> None:
    roles = {
        "user": Rules(allow=["READ", "SUBMITT", "GET /slurm/*/job/{id}"], versions="v0.0.40"),
        "operator": Rules(
            allow=["GET /slurm/v0.0.42/jobs", "GET /slurm/*/jobs*", ""],
            deny=["POST /slurm/*/reservaton"],
            versions="v0.0.34-v0.0.99",
        ),
        "guest": Rules(versions="v0.0.45-v0.0.40"),
    }
    _, problems = parse_policy(roles, CATALOGUE)
    assert [problem.place for problem in problems] == [
        "authorize.roles.user.allow[1]",
        "authorize.roles.operator.versions",
        "authorize.roles.operator.versions",
        "authorize.roles.operator.allow[0]",
        "authorize.roles.operator.allow[1]",
        "authorize.roles.operator.allow[2]",
        "authorize.roles.operator.deny[0]",
        "authorize.roles.guest.versions",
    ]
    assert problems[0].remedy == 'did you mean "SUBMIT"?'
    assert problems[3].remedy.startswith("write * for the version")
    assert problems[6].remedy == 'did you mean "POST /slurm/*/reservation"?'


def test_explain_shows_what_each_role_says() -> None:
    roles = ("user", "operator", "unknown")
    told = CONFIGURED.explain("GET", Target("/slurm/v0.0.42/shares"), roles)
    assert [(answer.role, answer.verdict) for answer in told.answers] == [
        ("user", "nothing"),
        ("operator", "deny"),
        ("unknown", "nothing"),
    ]
    assert (told.granted, told.version, told.risk) == (False, "v0.0.42", Risk.READ_SENSITIVE)
    granted = CONFIGURED.explain("GET", Target("/slurm/v0.0.42/jobs"), roles)
    assert (granted.granted, granted.rule) == (True, "authorize.roles.user.allow[READ-HEAVY]")
    unknown = CONFIGURED.explain("GET", Target("/nowhere"), roles)
    assert (unknown.operation, unknown.rule) == (None, "catalogue")


def test_a_repeated_decision_is_the_same_value_and_a_long_one_is_not_kept() -> None:
    first = ask(CONFIGURED, "GET", "/slurm/v0.0.42/job/7")
    assert ask(CONFIGURED, "GET", "/slurm/v0.0.42/job/7") is first
    names = (("users", ",".join(["alice"] * 100)),)
    long = ask(CONFIGURED, "GET", "/slurmdb/v0.0.42/jobs", names)
    assert ask(CONFIGURED, "GET", "/slurmdb/v0.0.42/jobs", names) is not long


def test_the_roles_are_part_of_what_is_remembered() -> None:
    path = "/slurmdb/v0.0.42/users"
    assert ask(CONFIGURED, "GET", path, roles=("operator",))
    assert refusal(CONFIGURED, "GET", path, roles=("user",))


def test_what_a_role_reaches_is_what_it_may_call() -> None:
    policy = policy_of(user=USER, operator=OPERATOR)
    mine = {entry.operation.name for entry in reachable(policy, ["user"], CATALOGUE)}
    assert "POST /slurm/*/job/submit" in mine
    assert mine & {"POST /slurm/*/reservation", "GET /slurm/*/shares"} == set()
    operators = {entry.operation.name for entry in reachable(policy, ["operator"], CATALOGUE)}
    assert "POST /slurm/*/reservation" in operators
    assert "GET /slurm/*/shares" not in operators
    assert reachable(policy, ["operator"], CATALOGUE, version=38) == ()


# ---- properties

grants = st.lists(st.sampled_from([*Risk, *NAMES]), max_size=6).map(lambda some: [*map(str, some)])
rules = st.builds(
    Rules, grants, grants, st.sampled_from(["v0.0.35-v0.0.45", "v0.0.40", "v0.0.42-v0.0.44"])
)


@settings(deadline=None)
@given(st.lists(rules, min_size=1, max_size=4), st.sampled_from(CATALOGUE.entries), st.data())
def test_a_deny_of_any_role_wins_over_the_allows_of_all(
    roles: list[Rules], entry: Entry, data: st.DataObject
) -> None:
    named = {f"role{index}": one for index, one in enumerate(roles)}
    call = data.draw(st.sampled_from([*CATALOGUE.versions_of(entry)]))
    operation = entry.operation
    decision = policy_of(**named).decide(named, call, operation.risk)
    if any({operation.name, operation.risk} & {*one.deny} for one in roles):
        assert not decision.granted
        assert ".deny[" in decision.rule
    if decision.granted:
        assert any({operation.name, operation.risk} & {*one.allow} for one in roles)


@settings(deadline=None)
@example(35, entry_named("POST /slurm/*/job/allocate"))
@given(st.integers(0, 200), st.sampled_from(CATALOGUE.entries))
def test_no_role_reaches_an_unknown_version(version: int, entry: Entry) -> None:
    path = entry.operation.template.replace("{version}", f"v0.0.{version}")
    path = re.sub(r"\{\w+\}", "1", path)
    known = entry.versions is None or entry.versions.covers(version)
    if not known:
        denied = refusal(ALLOWING, entry.operation.method, path)
        assert denied.reason is Reason.OPERATION_UNLISTED


anything = st.text(max_size=20) | st.text(st.characters(min_codepoint=32, max_codepoint=126))


def text_of(kind: Kind) -> st.SearchStrategy[str]:
    return st.from_regex(kind.pattern, fullmatch=True) | anything


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, Query]:
    """A listed operation with parameters that are mostly, but not always, of their kind."""
    call = draw(st.sampled_from([*CATALOGUE.versions_of(draw(st.sampled_from(CATALOGUE.entries)))]))
    parameter = call.entry.parameter
    value = draw(text_of(parameter.kind)) if parameter is not None else ""
    names = (
        draw(st.lists(st.sampled_from(sorted(call.query)), unique=True, max_size=3))
        if call.query
        else []
    )
    query = tuple((name, draw(text_of(call.query[name].kind))) for name in names)
    return call.entry.operation.method, f"{call.before}{value}{call.after}", query


def outcome(method: str, path: str, query: Query) -> AuthorizedCall | Reason:
    try:
        return ask(ALLOWING, method, path, query)
    except Denied as denied:
        return denied.reason


ALLOWED_BYTES = re.compile(rb"/[A-Za-z0-9._~/%-]*(?:\?[A-Za-z0-9._~=&%-]+)?")
UNWANTED = (b"..", b"//", b"/.", b"%2f", b"%2F", b"%5c", b"%5C", b"%00", b"%25", b"%3b", b"%3B")


@tried(400)
@given(calls())
def test_what_is_admitted_says_the_same_to_whoever_reads_it_again(
    asked: tuple[str, str, Query],
) -> None:
    method, path, query = asked
    call = outcome(method, path, query)
    if isinstance(call, Reason):
        assert call in {Reason.OPERATION_UNLISTED, Reason.PARAMETER_INVALID}
        return
    assert ALLOWED_BYTES.fullmatch(call.target)
    written_path, _, written_query = call.target.decode("ascii").partition("?")
    in_path = written_path.encode()
    in_query = written_query.replace("Exclude%20parent%20id%2Fname=", "").encode()
    assert [text for text in UNWANTED if text in in_path or text in in_query] == []
    assert unquote(written_path) == path
    read: dict[str, list[str]] = {}
    for name, value in parse_qsl(written_query, keep_blank_values=True, strict_parsing=bool(query)):
        read.setdefault(name, []).append(value)
    again = tuple((name, ",".join(values)) for name, values in read.items())
    assert again == tuple(sorted(query))
    assert ask(ALLOWING, method, unquote(written_path), again) == call


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), anything)
def test_a_kind_decides_on_any_text(kind: str, text: str) -> None:
    if KINDS[kind].accepts(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set("/\\%;'\"&<>#?")


def test_the_class_of_a_call_without_parameters_is_that_of_its_operation() -> None:
    for entry in CATALOGUE.entries:
        for call in CATALOGUE.versions_of(entry):
            assert raised_risk(call, ()) is entry.operation.risk


@pytest.mark.parametrize(
    ("roles", "method", "path", "expected"),
    [
        (("user",), "GET", "/slurm/v0.0.42/jobs", {"update_time", "flags"}),
        (("user",), "GET", "/slurm/v0.0.38/jobs", {"update_time"}),
        (("user",), "GET", "/slurm/v0.0.42/job/{job_id}", {"update_time", "flags"}),
        (("user",), "GET", "/slurmdb/v0.0.36/qos/{qos_name}", set()),
        (("user",), "GET", "/slurm/v0.0.42/nodes/", {"update_time", "flags"}),
        (("user",), "GET", "/openapi/v3", set()),
        (("user",), "GET", "/slurm/v0.0.42/reconfigure/", None),
        (("user",), "POST", "/slurm/v0.0.42/node/{node_name}", None),
        (("user",), "GET", "/slurm/v0.0.46/jobs", None),
        (("user",), "GET", "/slurm/v0.0.42/unheard_of", None),
        (("user", "operator"), "GET", "/slurm/v0.0.42/shares", None),
        (("user", "operator"), "POST", "/slurm/v0.0.43/reservation", set()),
        ((), "GET", "/slurm/v0.0.42/jobs", None),
    ],
)
def test_what_is_documented_is_permitted_as_calls_are_decided(
    roles: tuple[str, ...], method: str, path: str, expected: set[str] | None
) -> None:
    assert CONFIGURED.permitted(method, path, roles) == expected


def test_a_parameter_that_raises_the_class_is_permitted_to_whoever_has_that_class() -> None:
    path = "/slurmdb/v0.0.42/jobs"
    plain = CONFIGURED.permitted("GET", path, ("user",))
    more = CONFIGURED.permitted("GET", path, ("user", "operator"))
    assert plain is not None
    assert more is not None
    assert more - plain == {"show_batch_script", "show_job_environment"}


def test_what_is_always_refused_to_those_held_to_their_own_jobs_is_not_permitted() -> None:
    own = Rules(allow=[risk.value for risk in Risk], own_jobs_only=True)
    held = stage(user=own, operator=EVERYTHING)
    path = "/slurmdb/v0.0.45/job/{job_id}"
    assert held.permitted("POST", path, ("user",)) is None
    assert held.permitted("GET", path, ("user",)) is not None
    assert held.permitted("POST", path, ("user", "operator")) is not None


@pytest.mark.parametrize("roles", [("user",), ("user", "operator")])
def test_no_call_passes_that_is_not_permitted_and_every_permitted_one_does(
    roles: tuple[str, ...],
) -> None:
    """Each operation in each version, asked for by a value that its parameter takes."""
    values = {"job-id": "7", "wckey": "7"}
    for entry in CATALOGUE.entries:
        for call in CATALOGUE.versions_of(entry):
            place = "{x}" if entry.parameter else ""
            value = values.get(entry.parameter.kind.name, "name") if entry.parameter else ""
            method = entry.operation.method
            permitted = CONFIGURED.permitted(method, f"{call.before}{place}{call.after}", roles)
            query: Query = (("user", "alice"),) if entry.needs_condition else ()
            try:
                ask(CONFIGURED, method, f"{call.before}{value}{call.after}", query, roles)
            except Denied:
                assert permitted is None, (method, call.before)
            else:
                assert permitted is not None, (method, call.before)
