"""What goes wrong while a submission is asked for again: in the end there is the key, or nothing runs."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.client.asking import AccessToken, Gateway
from gateway.client.opening import Cluster
from gateway.client.submitting import submit
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, asked, problem, scripted_gateway
from tests.unit.client.test_bad_input import PROGRAM, environment

SUBMIT = "POST /slurm/v0.0.42/job/submit"
BROKEN_OFF = Told(504, b"<html>Gateway timeout</html>", "text/html")
DONE = Told(200, {"job_id": 7})


@dataclass
class Clock:
    """Time that passes while somebody sleeps."""

    seconds: float = 0.0
    told: list[str] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


@pytest.fixture
def cluster(scripted: ScriptedGateway) -> Iterator[Cluster]:
    with asked(scripted) as gateway:
        yield Cluster(gateway, "v0.0.42")


def trouble_of(cluster: Cluster, clock: Clock) -> Trouble:
    with pytest.raises(Trouble) as raised:
        submit(cluster, {"job": {}}, "k1", sleep=clock.sleep, now=clock.now, tell=clock.told.append)
    return raised.value


@pytest.mark.parametrize("after", ["0", "1", "15"])
@pytest.mark.parametrize(
    ("code", "status"), [("audit-unavailable", 503), ("idempotency-in-progress", 409)]
)
def test_a_gateway_that_always_says_later_is_asked_until_the_deadline(
    scripted: ScriptedGateway, cluster: Cluster, code: str, status: int, after: str
) -> None:
    scripted.tell(SUBMIT, problem(code, status, headers={"Retry-After": after}))
    clock = Clock()
    trouble = trouble_of(cluster, clock)
    assert trouble.code is Exit.UNDECIDED
    assert "--idempotency-key k1" in trouble.remedy
    assert 280 <= clock.seconds <= 300
    assert len(scripted.heard) <= 302


@pytest.mark.parametrize(
    "told",
    [problem("token-expired", 401), problem("operation-unlisted", 403), Told(200, {})],
    ids=["the sign-in is over", "no longer allowed", "an answer without a job"],
)
def test_what_may_have_run_is_not_undone_by_what_ends_the_asking(
    scripted: ScriptedGateway, cluster: Cluster, told: Told
) -> None:
    scripted.tell(SUBMIT, BROKEN_OFF, told)
    trouble = trouble_of(cluster, Clock())
    assert trouble.code is Exit.UNDECIDED
    assert "--idempotency-key k1" in trouble.remedy
    scripted.tell(SUBMIT, told)
    assert "--idempotency-key" not in trouble_of(cluster, Clock()).remedy


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (Told(500, {"errors": [{"error": "Invalid partition", "error_number": 2000}]}), 1),
        (problem("token-expired", 401), 77),
    ],
)
def test_what_never_ran_and_then_is_refused_is_refused(
    scripted: ScriptedGateway, cluster: Cluster, told: Told, code: int
) -> None:
    scripted.tell(SUBMIT, problem("busy", 503, outcome="not-run"), told)
    assert trouble_of(cluster, Clock()).code == code


def test_slurms_own_refusal_is_an_answer_also_after_a_break(
    scripted: ScriptedGateway, cluster: Cluster
) -> None:
    """The gateway asks Slurm again only where it knows that nothing ran."""
    refused = Told(500, {"errors": [{"error": "Invalid partition", "error_number": 2000}]})
    scripted.tell(SUBMIT, BROKEN_OFF, refused)
    assert trouble_of(cluster, Clock()).code is Exit.REFUSED_BY_SLURM


def token_that_ends(ending: Trouble) -> AccessToken:
    given = iter(["token-of-a-test"])

    def token(*, refused: str = "") -> str:
        for one in given:
            return one
        raise ending

    return token


@pytest.mark.parametrize("code", [Exit.NOT_PERMITTED, Exit.LOCAL_FILE, Exit.NO_INPUT])
def test_a_sign_in_that_cannot_be_read_again_leaves_the_key_and_what_to_do_first(
    scripted: ScriptedGateway, cluster: Cluster, code: Exit
) -> None:
    scripted.tell(SUBMIT, BROKEN_OFF, DONE)
    token = token_that_ends(Trouble(code, "It is over.", "sign in"))
    gateway = Gateway(cluster.gateway.place, cluster.gateway._http, token)
    trouble = trouble_of(Cluster(gateway, "v0.0.42"), Clock())
    assert (trouble.code, len(scripted.heard)) == (Exit.UNDECIDED, 1)
    assert trouble.sentence.endswith("It is over.")
    assert trouble.remedy.startswith("sign in; then ask again with the same key")
    assert trouble.remedy.endswith("--idempotency-key k1")


def wait_for(happens: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_between_two_requests_leaves_the_key(
    scripted: ScriptedGateway, tmp_path: Path
) -> None:
    scripted.tell(SUBMIT, problem("upstream-timeout", 504, headers={"Retry-After": "30"}))
    environ = {**os.environ, **environment(scripted.url, tmp_path)}
    listening = ("env", "--default-signal=INT")  # whoever was started in the background ignores it
    call = [*listening, str(PROGRAM), "submit", "--wrap", "true"]
    with subprocess.Popen(call, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_for(lambda: scripted.heard)
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == Exit.INTERRUPTED
    key = scripted.heard[0].headers["idempotency-key"].strip('"')
    assert f"--idempotency-key {key}" in said
