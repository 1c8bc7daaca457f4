"""--me is the Slurm user that the gateway names; where it names none, the one in the token."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.client.trouble import Exit
from tests.client_world import ScriptedGateway, Told, problem, scripted_gateway

ASKED = "GET /gateway/user"
JOBS = [
    {"job_id": 1, "name": "hers", "user_name": "a-smith", "user_id": 1001, "job_state": "PENDING"},
    {"job_id": 2, "name": "his", "user_name": "bob", "user_id": 1002, "job_state": "PENDING"},
]
ALICE = {"user": "a-smith", "uid": 1001, "roles": ["user"], "cluster": "lab"}


def token_of(**claims: object) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in parts]
    return ".".join(one.rstrip("=") for one in (*encoded, "x"))


@pytest.fixture
def site(tmp_path: Any) -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        made.tell("GET /slurm/v0.0.42/jobs", Told(200, {"jobs": JOBS}))
        yield made


def typed(site: ScriptedGateway, *words: str, **environ: str) -> Result:
    given = {
        "SLURM_GATEWAY_HOME": "/nonexistent/slurm-gateway",
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_TOKEN": token_of(preferred_username="alice", sub="s", iss="i"),
        "SLURM_GATEWAY_API_VERSION": "v0.0.42",
        **environ,
    }
    return CliRunner().invoke(main, words, env=given)


def names_in(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [one["name"] for one in json.loads(result.stdout)]


def test_me_is_whom_the_gateway_names_whatever_the_token_says(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, ALICE))
    assert names_in(typed(site, "jobs", "--me", "--json")) == ["hers"]


def test_a_release_that_gives_numbers_only_is_asked_by_number(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, ALICE))
    numbers = [{**one, "user_name": ""} for one in JOBS]
    site.tell("GET /slurm/v0.0.42/jobs", Told(200, {"jobs": numbers}))
    assert names_in(typed(site, "jobs", "--me", "--json")) == ["hers"]


@pytest.mark.parametrize(
    "answer", [problem("page-unknown", 404), problem("operation-unlisted", 403), Told(200, {})]
)
def test_a_gateway_that_names_nobody_leaves_the_token(site: ScriptedGateway, answer: Told) -> None:
    site.tell(ASKED, answer)
    token = token_of(preferred_username="bob")
    assert names_in(typed(site, "jobs", "--me", "--json", SLURM_GATEWAY_TOKEN=token)) == ["his"]
    nobody = typed(site, "jobs", "--me", SLURM_GATEWAY_TOKEN=token_of(sub="x"))
    assert nobody.exit_code == Exit.WRONG_CALL
    assert "SLURM_GATEWAY_USER" in nobody.stderr


def test_the_variable_goes_before_all_and_asks_nobody(site: ScriptedGateway) -> None:
    assert names_in(typed(site, "jobs", "--me", "--json", SLURM_GATEWAY_USER="bob")) == ["his"]
    assert ASKED not in site.targets()


def test_a_refusal_of_the_caller_is_one_of_the_command(site: ScriptedGateway) -> None:
    site.tell(ASKED, problem("user-unmapped", 403))
    refused = typed(site, "jobs", "--me")
    assert refused.exit_code == Exit.NOT_PERMITTED
    assert "user-unmapped" in refused.stderr


def test_cancel_takes_whom_the_gateway_names(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, ALICE))
    site.tell("DELETE /slurm/v0.0.42/job/1", Told(200, {}))
    assert typed(site, "cancel", "--me").exit_code == 0
    assert [one for one in site.targets() if one.startswith("DELETE")] == [
        "DELETE /slurm/v0.0.42/job/1"
    ]


def test_history_asks_for_whom_the_gateway_names(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, ALICE))
    site.tell("GET /slurmdb/v0.0.42/jobs", Told(200, {"jobs": []}))
    assert typed(site, "history").exit_code == 0
    assert "users=a-smith" in site.targets()[-1]


def test_whoami_shows_the_slurm_user_and_the_name_in_the_token(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, ALICE))
    told = json.loads(typed(site, "whoami", "--json").stdout)
    assert (told["slurm_user"], told["uid"], told["name"]) == ("a-smith", 1001, "alice")
    assert (told["roles"], told["cluster"]) == (["user"], "lab")
    shown = typed(site, "whoami").stdout
    assert shown.startswith("a-smith at ")
    assert "alice" in shown


def test_what_a_gateway_says_of_us_cannot_speak_to_the_terminal(site: ScriptedGateway) -> None:
    site.tell(ASKED, Told(200, {"user": "a\x1b[2J", "roles": ["\x1b]0;x"], "cluster": "\x07"}))
    shown = typed(site, "whoami").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
