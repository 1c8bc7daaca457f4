"""gateway.toml and the environment -> the configuration, or every mistake at once."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app_doubts import find_doubts
from gateway.config.gateway import Gateway
from gateway.config.load import load, validate
from gateway.config.problem import ConfigurationError, Problem
from lab.toml_text import merged
from tests.configurations import ISSUER, MINIMAL, configuration, settings, write_configuration

CORPUS: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "configurations.toml").read_text()
)["mistake"]


def problems_of(path: Path, environ: dict[str, str]) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    return caught.value.problems


@pytest.mark.parametrize("mistake", CORPUS, ids=lambda mistake: mistake["name"])
def test_a_mistake_is_told_with_its_place_and_its_remedy(
    mistake: dict[str, Any], tmp_path: Path
) -> None:
    if "text" in mistake:
        path = tmp_path / "gateway.toml"
        path.write_text(mistake["text"])
    else:
        path = write_configuration(tmp_path, mistake.get("settings"))
    problems = problems_of(path, mistake.get("environ", {}))
    told = [
        problem
        for problem in problems
        if problem.place.endswith(mistake["place"]) or mistake["place"] in problem.place
    ]
    assert told, problems
    assert len({problem.place for problem in told}) == len(told), "one problem a place"
    assert mistake["what"] in told[0].what
    assert mistake.get("remedy", "") in told[0].remedy
    assert "canary" not in str(problems)


def test_the_least_configuration_is_valid_as_it_stands(tmp_path: Path) -> None:
    gateway = load(write_configuration(tmp_path), {"PATH": "/bin", "SLURM_GATEWAY_CONFIG": "x"})
    assert gateway.server.cluster == "example"
    assert gateway.authorize.roles["user"].allow == ("READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE")


def test_all_mistakes_are_told_at_once_also_across_sections(tmp_path: Path) -> None:
    path = write_configuration(
        tmp_path,
        {
            "server": {"listen": "nowhere", "bogus": 1},
            "forward": {"connections": 0},
            "map_user": {"rules": [{"issuer": "https://else.example.org", "claim": "uid"}]},
            "extra": {},
        },
    )
    places = [problem.place for problem in problems_of(path, {"SLURM_GATEWAY__X": "1"})]
    assert places == [
        "environment SLURM_GATEWAY__X",
        "extra",
        "server.listen",
        "server.bogus",
        "forward.connections",
        "map_user.rules[0].issuer",
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "does not exist"), (b"\xff\xfe", "is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_one_problem(
    content: bytes | None, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_of(path, {})
    assert what in problem.what


def test_a_directory_in_its_place_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, {})
    assert problem.what == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("name", "text", "read", "value"),
    [
        ("SERVER__LISTEN", "127.0.0.1:9", lambda g: g.server.listen, "127.0.0.1:9"),
        ("server__listen", "127.0.0.1:9", lambda g: g.server.listen, "127.0.0.1:9"),
        ("SERVER__DRAIN_SECONDS", "1.5", lambda g: g.server.drain_seconds, 1.5),
        ("SERVER__CLUSTER", "12", lambda g: g.server.cluster, "12"),
        ("RECEIVE__ACCEPT_YAML", "true", lambda g: g.receive.accept_yaml, True),
        ("LIMIT__RATES__READ_HEAVY", "9/second", lambda g: g.limit.rates.read_heavy, "9/second"),
        ("CREDENTIAL__KEY_FILE", "/k", lambda g: str(g.credential.key_file), "/k"),
        ("SERVER__TRUSTED_PROXIES", '["::1"]', lambda g: g.server.trusted_proxies, ("::1",)),
        (
            "AUTHORIZE__ROLES__OPERATOR__ALLOW",
            '["ADMIN"]',
            lambda g: g.authorize.roles["operator"].allow,
            ("ADMIN",),
        ),
        ("AUDIT__SINKS", '[{"type": "stdout"}]', lambda g: len(g.audit.sinks), 1),
        ("FORWARD", '{"read_seconds": 3}', lambda g: g.forward.read_seconds, 3.0),
    ],
)
def test_the_environment_goes_over_the_file(
    name: str, text: str, read: Any, value: object, tmp_path: Path
) -> None:
    gateway = load(write_configuration(tmp_path), {f"SLURM_GATEWAY__{name}": text})
    assert read(gateway) == value
    assert gateway.forward.upstream == MINIMAL["forward"]["upstream"], "tables are merged"


def test_only_the_environment_that_is_handed_over_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's own environment is a hidden input that tests and `reload` must not see twice."""
    monkeypatch.setenv("SLURM_GATEWAY__SERVER__CLUSTER", "hidden")
    assert load(write_configuration(tmp_path), {}).server.cluster == "example"


DOUBTS: list[tuple[dict[str, Any], str]] = [
    ({"server": {"listen": "0.0.0.0:1", "insecure_http": True}}, "server.insecure_http"),
    ({"server": {"operations_listen": "0.0.0.0:9"}}, "server.operations_listen"),
    ({"server": {"public_url": "http://localhost:1"}}, "server.public_url"),
    ({"server": {"state_directory": "state"}}, "server.state_directory"),
    ({"map_user": {"rules": [{"issuer": ISSUER, "claim": "email"}]}}, "map_user.rules[0]"),
    ({"map_user": {"must_exist": False}}, "map_user.must_exist"),
    ({"map_user": {"forbidden_users": ["slurm"]}}, "map_user.forbidden_users"),
    ({"authorize": {"roles": {"operator": {}}}}, "authorize.roles.operator"),
    ({"forward": {"upstream": "http://slurm.example.org:6820"}}, "forward.upstream"),
    ({"credential": {"provider": "passthrough", "key_file": None}}, "credential.provider"),
    (
        {"credential": {"provider": "attach", "key_file": None, "token_file": "/t"}},
        "credential",
    ),
    (
        {
            "credential": {
                "provider": "attach",
                "key_file": None,
                "token_file": "/t",
                "impersonate": True,
            }
        },
        "credential.impersonate",
    ),
]


@pytest.mark.parametrize(("changes", "place"), DOUBTS, ids=[place for _, place in DOUBTS])
def test_what_should_be_meant_is_said_and_stops_nothing(
    changes: dict[str, Any], place: str
) -> None:
    assert place in [doubt.place for doubt in find_doubts(configuration(changes))]


def test_a_careful_configuration_leaves_no_doubt() -> None:
    assert find_doubts(configuration()) == []


def test_an_issuer_that_no_rule_names_is_said() -> None:
    other = {"issuer": "https://other.example.org", "audiences": ["a"], "accept_id_tokens": True}
    issuers = [*MINIMAL["authenticate"]["issuers"], other]
    doubts = find_doubts(configuration({"authenticate": {"issuers": issuers}}))
    assert [doubt.place for doubt in doubts] == [
        "authenticate.issuers[1]",
        "authenticate.issuers[1].accept_id_tokens",
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"profile": "rfc9068"}, "has no effect"),
        ({"profile": "oidc"}, "say who signed in"),
    ],
)
def test_id_tokens_that_are_accepted_are_said_and_where_it_has_no_effect_too(
    changes: dict[str, Any], what: str
) -> None:
    issuer = MINIMAL["authenticate"]["issuers"][0] | {"accept_id_tokens": True} | changes
    (doubt,) = find_doubts(configuration({"authenticate": {"issuers": [issuer]}}))
    assert doubt.place == "authenticate.issuers[0].accept_id_tokens"
    assert what in doubt.what


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "refused"),
        ({"profile": "rfc9068"}, "refused"),
        ({"accept_id_tokens": True}, "taken"),
        ({"accept_id_tokens": True, "profile": "rfc9068"}, "refused"),
    ],
)
def test_a_login_client_among_the_audiences_is_said(changes: dict[str, Any], end: str) -> None:
    both = {"audiences": ["https://slurm.example.org", "portal"], "login_client_ids": ["portal"]}
    issuer = MINIMAL["authenticate"]["issuers"][0] | both | changes
    *_, doubt = find_doubts(configuration({"authenticate": {"issuers": [issuer]}}))
    assert doubt.place == "authenticate.issuers[0].audiences"
    assert doubt.what.startswith("portal is a login client")
    assert doubt.what.endswith(end)


ENTRA = "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0"
SIGN_IN_CLIENT: dict[str, Any] = {"name": "a", "client_id": "a", "authentication": "none"}


@pytest.mark.parametrize(
    ("issuer", "place", "what"),
    [
        ({"issuer": "https://gitlab.com"}, "", "serves anybody"),
        ({"issuer": "https://token.actions.githubusercontent.com"}, "", "serves anybody"),
        ({"issuer": "https://accounts.google.com"}, "", "serves anybody"),
        ({"issuer": "https://gitlab.com", "required_claims": {"namespace_id": "1"}}, None, ""),
        ({"issuer": "https://gitlab.example.org"}, None, ""),
        ({"issuer": ENTRA}, ".subject_claim", "otherwise at each client"),
        ({"issuer": ENTRA, "subject_claim": "oid"}, None, ""),
        ({"issuer": "https://a.okta.com"}, "", "org authorization server"),
        ({"issuer": "https://a.okta.com/oauth2/default"}, None, ""),
    ],
)
def test_what_is_known_of_a_provider_is_said(
    issuer: dict[str, Any], place: str | None, what: str
) -> None:
    rule = {"issuer": issuer["issuer"], "claim": "uid"}
    client = {**SIGN_IN_CLIENT, "issuer": issuer["issuer"]}
    changes = {
        "authenticate": {"issuers": [{"audiences": ["a"], **issuer}]},
        "map_user": {"rules": [rule]},
        "sign_in": {"encryption_key_file": "/k", "clients": [client]},
    }
    found = [(doubt.place, what in doubt.what) for doubt in find_doubts(configuration(changes))]
    wanted = [] if place is None else [(f"authenticate.issuers[0]{place}", True)]
    assert found == wanted


def test_one_door_at_entra_needs_no_claim_for_the_person() -> None:
    rule = {"issuer": ENTRA, "claim": "uid"}
    changes = {
        "authenticate": {"issuers": [{"issuer": ENTRA, "audiences": ["a"]}]},
        "map_user": {"rules": [rule]},
    }
    assert find_doubts(configuration(changes)) == []


def test_only_id_tokens_need_no_audience() -> None:
    issuer = {"issuer": ENTRA, "accept_id_tokens": True, "login_client_ids": ["cli"]}
    changes = {
        "authenticate": {"issuers": [issuer]},
        "map_user": {"rules": [{"issuer": ENTRA, "claim": "uid"}]},
    }
    assert configuration(changes).authenticate.issuers[0].audiences == ()


def outcome_of(raw: dict[str, Any]) -> Gateway | tuple[Problem, ...]:
    try:
        return validate(raw)
    except ConfigurationError as error:
        return error.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = [
    ("server",),
    ("server", "listen"),
    ("server", "socket_mode"),
    ("authenticate", "issuers"),
    ("map_user", "rules"),
    ("map_user", "roles"),
    ("authorize", "roles"),
    ("authorize", "roles", "user", "allow"),
    ("receive", "maximum_body_bytes_by_operation"),
    ("limit", "rates", "read"),
    ("credential",),
    ("forward", "upstream"),
    ("audit", "sinks"),
]


@given(path=st.sampled_from(PATHS), value=JSON)
def test_any_value_at_any_place_gives_a_configuration_or_problems(
    path: tuple[str, ...], value: object
) -> None:
    """Never an exception of another kind, never an error without a place."""
    change: Any = value
    for name in reversed(path):
        change = {name: change}
    outcome = outcome_of(merged(settings(), change))
    assert isinstance(outcome, Gateway) or (
        outcome and all(problem.place and problem.what for problem in outcome)
    )


@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_problems(text: str) -> None:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    with pytest.raises(ConfigurationError):
        validate(raw)


def test_nothing_is_shared_where_callers_bring_their_own_tokens(tmp_path: Path) -> None:
    changes = {
        "cache": {"private_data_is_empty": True, "share_as": "portal"},
        "credential": {"provider": "passthrough", "key_file": None},
    }
    (problem,) = problems_of(write_configuration(tmp_path, changes), {})
    assert problem.place == "cache.share_as"
    assert "has no token" in problem.what
