"""`slurm-gateway bindings`: whose a Slurm user is, and how it comes to be somebody else's."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.configurations import ISSUER, token_for
from tests.serving import READ, Served, served

FIRST, SECOND = token_for("alice"), token_for("alice", sub="another")
CHANGES = {
    "map_user": {"rules": [{"issuer": ISSUER, "claim": "uid", "bind": "first-use"}]},
    "forward": {"upstream": "http://127.0.0.1:9"},
}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, CHANGES) as running:
        yield running


def is_refused(gateway: Served, token: str) -> bool:
    code = json.loads(gateway.ask(READ, token)[2])["code"]
    assert code in {"subject-conflict", "upstream-unreachable"}
    return bool(code == "subject-conflict")


def rows(gateway: Served) -> list[tuple[str, str, str]]:
    done = gateway.run("bindings", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [(row["user"], row["subject"], row["issuer"]) for row in json.loads(done.stdout)]


@pytest.mark.parametrize("how", [("--user", "alice"), (ISSUER, "subject-of-alice")])
def test_a_running_gateway_notices_within_two_seconds_that_a_user_is_free(
    gateway: Served, how: tuple[str, str]
) -> None:
    """Even for the subject that it has just served: two must never act as one user."""
    assert [is_refused(gateway, token) for token in (FIRST, SECOND)] == [False, True]
    assert rows(gateway) == [("alice", "subject-of-alice", ISSUER)]
    done = gateway.run("bindings", "remove", *how)
    assert done.returncode == 0, done.stderr
    assert "alice" in done.stdout
    assert not is_refused(gateway, SECOND)
    assert rows(gateway) == [("alice", "another", ISSUER)]
    end = time.monotonic() + 2
    while not is_refused(gateway, FIRST):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stopped_gateway_starts_with_what_was_left(tmp_path: Path) -> None:
    with served(tmp_path, CHANGES) as gateway:
        for user in ("alice", "bob"):
            assert not is_refused(gateway, token_for(user))
        gateway.stop()
        assert gateway.run("bindings", "remove", "--user", "alice").returncode == 0
        assert rows(gateway) == [("bob", "subject-of-bob", ISSUER)]
        gateway.start()
        assert not is_refused(gateway, SECOND)
        assert is_refused(gateway, token_for("bob", sub="another"))
