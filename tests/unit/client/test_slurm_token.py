"""A Slurm token reaches a shell as one line that sets one variable, and nothing else."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.client.trouble import Exit
from tests.client_world import ScriptedGateway, Told, problem, scripted_gateway

ASKED = "POST /gateway/slurm-token"
TOKEN = "head.cl-ai_ms.sign"
GIVEN = Told(200, {"user": "alice", "slurm_token": TOKEN, "expires_at": 1_800_000_000})


@pytest.fixture
def site() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


def typed(site: ScriptedGateway, *words: str) -> Result:
    environ = {
        "SLURM_GATEWAY_HOME": "/nonexistent/slurm-gateway",
        "SLURM_GATEWAY_URL": site.url,
        "SLURM_GATEWAY_TOKEN": "token-of-a-test",
    }
    return CliRunner().invoke(main, ["slurm-token", *words], env=environ)


def test_a_shell_that_reads_it_has_the_variable(site: ScriptedGateway) -> None:
    site.tell(ASKED, GIVEN)
    line = typed(site).stdout
    command = [f'{line}printf %s "$SLURM_JWT"']
    done = subprocess.run(["sh", "-c", *command], capture_output=True, text=True, check=True)
    assert done.stdout == TOKEN
    assert typed(site, "--shell", "fish").stdout == f"set -gx SLURM_JWT '{TOKEN}'\n"
    assert [one.body for one in site.heard] == [b"", b""]


def test_programs_read_it_as_json(site: ScriptedGateway) -> None:
    site.tell(ASKED, GIVEN)
    told = json.loads(typed(site, "--json").stdout)
    assert told == {"user": "alice", "expires_at": 1_800_000_000, "slurm_token": TOKEN}


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c; rm -rf ~", "a.b.$(id)", "a.b.c\nid", "a.b.'c", 7, None]
)
def test_what_a_shell_would_take_for_more_is_no_token(site: ScriptedGateway, token: object) -> None:
    site.tell(ASKED, Told(200, {"slurm_token": token}))
    for words in ([], ["--shell", "fish"], ["--json"]):
        refused = typed(site, *words)
        assert refused.exit_code == Exit.UNREADABLE_ANSWER
        assert refused.stdout == ""


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("operation-unlisted", 403, Exit.NOT_PERMITTED),
        ("slurm-token-unsupported", 501, Exit.REFUSED_BY_SLURM),
        ("audit-unavailable", 503, Exit.UNAVAILABLE),
    ],
)
def test_a_refusal_prints_no_line_for_the_shell(
    site: ScriptedGateway, code: str, status: int, exit_code: Exit
) -> None:
    site.tell(ASKED, problem(code, status))
    refused = typed(site)
    assert (refused.exit_code, refused.stdout) == (exit_code, "")
    assert code in refused.stderr
