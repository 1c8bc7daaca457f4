"""`check` says of each role what it is worth, and who may go past all of it."""

from pathlib import Path
from typing import Any

import pytest

from gateway.commands.check_roles import check_roles
from gateway.commands.reporting import Findings
from tests.running import gateway_of

ELSEWHERE = {"provider": "passthrough", "key_file": None}


@pytest.mark.parametrize(
    ("role", "credential", "says"),
    [
        ({"allow": ["READ", "SUBMIT"]}, {}, ""),
        ({"allow": ["MINT-TOKEN"]}, {}, "past every rule of this gateway."),
        ({"allow": ["POST  /gateway/slurm-token"]}, {}, "past every rule of this gateway."),
        (
            {"allow": ["MINT-TOKEN"], "own_jobs_only": True},
            {},
            "those of the role itself among them",
        ),
        ({"allow": ["MINT-TOKEN"]}, ELSEWHERE, "answers slurm-token-unsupported"),
    ],
)
def test_whoever_may_have_slurm_tokens_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    role: dict[str, Any],
    credential: dict[str, Any],
    says: str,
) -> None:
    changes = {"authorize": {"roles": {"native": role}}, "credential": credential}
    config = gateway_of(tmp_path, changes)
    findings = Findings()
    check_roles(config.authorize, config.credential, findings)
    told = capsys.readouterr().out
    assert ("MINT-TOKEN" in told) is bool(says)
    assert says in told
    assert bool(findings.doubtful) is bool(says)
