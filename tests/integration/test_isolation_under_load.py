"""Many clients of two users at once, some of them cut off in the middle -> nobody sees a byte that is not theirs."""

import http.client
import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission, user_of
from tests.configurations import token_for
from tests.integration.crowd import all_is_given_back, connect, eventually, head, read_on, session
from tests.integration.crowd import serving as serving_gateway
from tests.integration.marked_upstream import is_made_of, marked_upstream
from tests.serving import Served

SharedGateway = Callable[[SlurmRelease], GatewayProcess]
USERS = ("alice", "bob")
CLIENTS_OF_EACH = 8
SIZES = {"jobs": 1_500_000, "licenses": 120_000, "diag": 300}
WORDS = tuple(SIZES)


@dataclass(frozen=True)
class Person:
    """A user at a gateway in front of a real release, and a held job of the user's own."""

    name: str
    token: str
    gateway: GatewayProcess
    version: str
    job_name: str
    job_id: int = 0

    def on(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: object = None
    ) -> tuple[int, Any]:
        """One request on a kept connection, which http.client opens anew where it was closed."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body)
        connection.request(method, f"/slurm/{self.version}{path}", payload, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def submit(self, connection: http.client.HTTPSConnection) -> int:
        job = submission(self.version, "#!/bin/sh\ntrue\n", name=self.job_name, hold=True)
        status, answer = self.on(connection, "POST", "/job/submit", job)
        assert status == 200, answer
        return int(answer["job_id"])

    def check_own(self, connection: http.client.HTTPSConnection, job_id: int) -> None:
        status, answer = self.on(connection, "GET", f"/job/{job_id}")
        assert status == 200, answer
        (job,) = answer["jobs"]
        assert (job["job_id"], job["name"], user_of(job)) == (job_id, self.job_name, self.name)


def use(person: Person, seed: int, requests: int) -> int:
    """One client: reads of the own job, submits, and errors, which end slurmrestd's connection."""
    chance = random.Random(seed)  # noqa: S311 (which request comes next is no secret)
    connection = person.gateway.connect()
    done = 0
    for _ in range(requests):
        kind = chance.random()
        if kind < 0.1:
            person.check_own(connection, person.submit(connection))
        elif kind < 0.2:
            assert person.on(connection, "GET", "/job/4000000")[0] >= 400
        else:
            person.check_own(connection, person.job_id)
        done += 1
    connection.close()
    return done


def cut_off(person: Person, seed: int, requests: int) -> int:
    """One client that asks and hangs up at some moment, before, in or behind the answer."""
    chance = random.Random(seed)  # noqa: S311 (as above)
    for _ in range(requests):
        connection = person.gateway.connect()
        path = f"/slurm/{person.version}/" + chance.choice(["jobs", f"job/{person.job_id}", "diag"])
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers={"Authorization": f"Bearer {person.token}"})
            time.sleep(chance.random() * 0.01)
            if chance.random() < 0.5:
                connection.getresponse().read(chance.randrange(1, 2000))
        connection.close()
    return requests


@pytest.mark.parametrize(
    "requests", [20, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_two_users_under_load_get_answers_and_jobs_of_their_own(
    slurm_release: SlurmRelease,
    shared_gateway: SharedGateway,
    identity_provider: IdentityProvider,
    requests: int,
) -> None:
    """On 20.11 too, where a kept connection acts as the user that it was opened for."""
    gateway = shared_gateway(slurm_release)
    people = []
    for name in USERS:
        mark = f"of-{name}-{random.randrange(1 << 40)}"  # noqa: S311 (a name for the eye)
        person = Person(
            name, identity_provider.token_for(name), gateway, slurm_release.api_versions[0], mark
        )
        connection = gateway.connect()
        people.append(Person(**{**person.__dict__, "job_id": person.submit(connection)}))
        connection.close()
    try:
        with ThreadPoolExecutor(2 * CLIENTS_OF_EACH + 4) as pool:
            running = [
                pool.submit(use, person, seed, requests)
                for seed in range(CLIENTS_OF_EACH)
                for person in people
            ]
            running += [pool.submit(cut_off, person, 9, requests) for person in people]
            done = sum(each.result() for each in running)
        assert done == 2 * (CLIENTS_OF_EACH + 1) * requests
    finally:
        for person in people:
            slurm_release.run("scancel", f"--name={person.job_name}")


# every byte, with answers that are made of their user's name


def read_marked(gateway: Served, user: str, seed: int, requests: int) -> int:
    """One client that reads all of its answers; the number of bytes."""
    chance = random.Random(seed)  # noqa: S311 (as above)
    connection, token, count = session(gateway), token_for(user), 0
    for _ in range(requests):
        word = chance.choice(WORDS)
        status, _, body = read_on(connection, f"/slurm/v0.0.38/{word}", token)
        assert status == 200, body
        assert len(body) == SIZES[word]
        assert is_made_of(user, body), f"{user} saw {body[:60]!r}"
        count += len(body)
    connection.close()
    return count


def cut_marked(gateway: Served, user: str, seed: int, requests: int) -> int:
    """One client that hangs up at any moment of its request."""
    chance = random.Random(seed)  # noqa: S311 (as above)
    token = token_for(user)
    for _ in range(requests):
        client = connect(gateway, receive_bytes=8192)
        request = head("GET", f"/slurm/v0.0.38/{chance.choice(WORDS)}", token)
        is_whole = chance.random() < 0.8
        with suppress(OSError):
            client.sendall(request if is_whole else request[: chance.randrange(len(request))])
            time.sleep(chance.choice([0, 0.001, 0.02]) * chance.random())
            if is_whole and chance.random() < 0.6:
                client.recv(chance.randrange(1, 100_000))
        client.close()
    return requests


@pytest.mark.parametrize("checks_once", [True, False], ids=["as-20.11", "as-later"])
@pytest.mark.parametrize(
    "requests", [50, pytest.param(600, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_hundreds_of_clients_cut_off_in_an_answer_leave_no_byte_of_it_to_others(
    tmp_path: Path, checks_once: bool, requests: int
) -> None:
    """Four hundred in the short form, while two users read; and everything is given back."""
    with (
        marked_upstream(SIZES, checks_once=checks_once) as upstream,
        serving_gateway(tmp_path, upstream.url, {"forward": {"connections": 16}}) as gateway,
    ):
        with ThreadPoolExecutor(14) as pool:
            reading = [
                pool.submit(read_marked, gateway, user, seed, requests)
                for seed in range(3)
                for user in USERS
            ]
            cutting = [
                pool.submit(cut_marked, gateway, f"{user}{seed}", seed, requests)
                for seed in range(4)
                for user in ("mallory", "oscar")
            ]
            assert all(each.result() for each in reading)
            assert sum(each.result() for each in cutting) == 8 * requests
        eventually(lambda: all_is_given_back(gateway))
        ids = [record["request_id"] for record in gateway.records]
        assert len(set(ids)) == len(ids)
        assert "Traceback" not in gateway.log
