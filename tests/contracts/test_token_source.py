"""What every TokenSource keeps: run on the fake, on files, and on real commands."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

from gateway.edges.few_threads import FewThreads
from gateway.edges.run_command import RunCommand, minimal_environment
from gateway.edges.token_source import CommandTokens, FileTokens
from gateway.slurm_token import read_slurm_token
from gateway.stages.credential import CredentialDoubt, TokenSource
from tests.fake_users import FakeTokens


def make_text(user: str, expires: float) -> str:
    claims = json.dumps({"sun": user, "exp": expires}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.Y2FuYXJ5"


EXPIRES = float(int(time.time()) + 3600)
ALICE, BOB = make_text("alice", EXPIRES), make_text("bob", EXPIRES)


@pytest.fixture(params=["fake", "file", "command"])
def tokens(request: pytest.FixtureRequest, tmp_path: Path) -> TokenSource:
    """Tokens of alice and bob, and of nobody else."""
    if request.param == "fake":
        texts = {"alice": ALICE, "bob": BOB}
        return FakeTokens({user: read_slurm_token(text) for user, text in texts.items()})
    for user, text in (("alice", f"SLURM_JWT={ALICE}\n"), ("bob", BOB)):
        (tmp_path / user).write_text(text)
        (tmp_path / user).chmod(0o600)
    path = f"{tmp_path}/{{user}}"
    if request.param == "file":
        return FileTokens(path, FewThreads(2))
    run = RunCommand(minimal_environment(os.environ), limit_seconds=10)
    return CommandTokens(("cat", path), run, refresh_seconds=30)


@pytest.mark.parametrize(("user", "text"), [("alice", ALICE), ("bob", BOB)], ids=["alice", "bob"])
async def test_each_user_has_its_own_token_with_its_end(
    tokens: TokenSource, user: str, text: str
) -> None:
    for _ in range(2):
        token = await tokens(user)
        assert token.secret.reveal == text
        assert (token.unverified_user, token.unverified_expires) == (user, EXPIRES)


async def test_a_user_without_a_token_is_a_doubt_every_time(tokens: TokenSource) -> None:
    for _ in range(2):
        with pytest.raises(CredentialDoubt, match="carol"):
            await tokens("carol")
