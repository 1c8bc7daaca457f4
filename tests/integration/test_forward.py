"""The connection to slurmrestd, held to every real release."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.slots import FairSlots
from gateway.edges.slurmrestd import Slurmrestd
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.edges.upstream_pool import Address, UpstreamPool
from gateway.model import AuthorizedCall, Grant, Operation, Risk
from gateway.stages.forward import Patience
from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.fakes import make_identity
from tests.upstream_kit import make_grant, settled, text_of

StartGateway = Callable[..., GatewayProcess]

CHECKS_ONCE = "20.11"


class Client:
    """The real client of one release, with minted tokens."""

    def __init__(self, release: SlurmRelease, url: str = "", **options: Any) -> None:
        self.release = release
        address = Address.parse(url or release.url)
        settings = {"connections": 16, "connect_seconds": 2, "idle_seconds": 60}
        self.pool = UpstreamPool(address, **(settings | {"buffer_bytes": 8 << 20} | options))
        self.slurmrestd = Slurmrestd(address, self.pool, Patience(20, 60, 300))
        self.version = release.api_versions[0]
        self._tokens: dict[str, str] = {}

    def grant(
        self, user: str, method: str, path: str, body: object = None, token: str = ""
    ) -> Grant:
        changes = method != "GET"
        operation = Operation(
            method, path, Risk.SUBMIT if changes else Risk.READ, changes, body is not None
        )
        target = f"/slurm/{self.version}{path}".encode()
        call = AuthorizedCall(operation, self.version, target, operation.risk, "")
        raw = None if body is None else json.dumps(body).encode()
        if user not in self._tokens:
            self._tokens[user] = self.release.token(user)
        return make_grant(call, user, token or self._tokens[user], raw)

    async def ask(self, user: str, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        found = await self.slurmrestd.send(self.grant(user, method, path, **more))
        return found.head.status, await text_of(found)

    async def probed(self) -> bool | None:
        await settled(
            lambda: self.slurmrestd._next_probe and self.slurmrestd._probing is None, seconds=40
        )
        return self.slurmrestd.state.checks_each_request


@asynccontextmanager
async def connected(release: SlurmRelease, **options: Any) -> AsyncIterator[Client]:
    client = Client(release, **options)
    try:
        yield client
    finally:
        await client.slurmrestd.close()


@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_the_probe_tells_releases_that_check_each_request_from_the_one_that_does_not(
    slurm_release: SlurmRelease, way: str
) -> None:
    """20.11 authenticates the connection; 22.05, 24.11 and 26.05 authenticate the request."""
    url = f"unix:{slurm_release.socket}" if way == "unix" else ""
    async with connected(slurm_release, url=url) as client:
        assert (await client.ask("alice", "GET", "/jobs"))[0] == 200
        checks = slurm_release.release.slurm != CHECKS_ONCE
        assert await client.probed() is checks
        assert client.pool.is_shared is checks


async def test_a_success_of_ping_is_not_mistaken_for_a_proof(slurm_release: SlurmRelease) -> None:
    """24.11 and 26.05 say 200 to ping with a bad token; the probe asks diag instead."""
    async with connected(slurm_release) as client:
        await client.ask("alice", "GET", "/ping")
        assert await client.probed() is (slurm_release.release.slurm != CHECKS_ONCE)


async def test_two_users_in_turn_on_few_connections_submit_as_themselves(
    slurm_release: SlurmRelease,
) -> None:
    """On 20.11 a shared connection runs the second user's job as the first user."""
    async with connected(slurm_release, connections=4) as client:
        owners: dict[str, str] = {}
        for turn in range(6):
            user = ("alice", "bob")[turn % 2]
            body = submission(client.version, "#!/bin/sh\ntrue\n")
            status, text = await client.ask(user, "POST", "/job/submit", body=body)
            assert status == 200, text
            owners[str(json.loads(text)["job_id"])] = user
        for job, user in owners.items():
            lines = slurm_release.run("scontrol", "show", "job", job)
            assert f"UserId={user}(" in lines


async def test_both_users_at_once_get_answers_for_themselves(slurm_release: SlurmRelease) -> None:
    """The wrong user's job cannot be cancelled: each answer shows whose credential was used."""
    async with connected(slurm_release, connections=8) as client:
        slots = FairSlots(8, 100, 30)

        async def work(user: str) -> None:
            for _ in range(10):
                slot = await slots.acquire(make_identity(subject=user))
                grant = client.grant(user, "GET", "/partitions")._replace(slot=slot)
                found = await client.slurmrestd.send(grant)
                assert found.head.status == 200
                assert "partitions" in json.loads(await text_of(found))
                slot.release()

        await asyncio.gather(*(work(user) for user in ["alice", "bob"] * 4))


@pytest.mark.parametrize("token", ["not-a-token", "wrong-user"])
async def test_a_refused_credential_is_known_as_one(
    slurm_release: SlurmRelease, token: str
) -> None:
    async with connected(slurm_release) as client:
        bad = slurm_release.token("bob") if token == "wrong-user" else token
        with pytest.raises(Denied) as caught:
            await client.ask("alice", "GET", "/jobs", token=bad)
        assert caught.value.reason is Reason.CREDENTIAL_REFUSED
        assert client.slurmrestd.state.is_credential_refused
        assert (await client.ask("alice", "GET", "/jobs"))[0] == 200
        assert not client.slurmrestd.state.is_credential_refused


async def test_slurms_own_errors_pass_untouched(slurm_release: SlurmRelease) -> None:
    async with connected(slurm_release) as client:
        for _ in range(3):  # 26.05 sends many errors twice: the second must never be an answer
            status, text = await client.ask("alice", "GET", "/job/999999")
            direct = slurm_release.request("alice", "GET", f"/slurm/{client.version}/job/999999")
            assert (status, len(text)) == (direct[0], len(direct[1]))
            assert (await client.ask("bob", "GET", "/diag"))[0] == 200


async def test_an_answer_is_the_bytes_that_slurmrestd_sends(slurm_release: SlurmRelease) -> None:
    async with connected(slurm_release) as client:
        path = "/openapi/v3" if slurm_release.release.slurm != CHECKS_ONCE else "/openapi"
        call = AuthorizedCall(
            Operation("GET", path, Risk.READ_HEAVY, False, False), "", path.encode(), Risk.READ, ""
        )
        found = await client.slurmrestd.send(
            make_grant(call, "alice", slurm_release.token("alice"))
        )
        direct = slurm_release.request("alice", "GET", path)
        assert (found.head.status, await text_of(found)) == direct


@pytest.mark.disturbs_slurm
@pytest.mark.long_on("trixie")
async def test_a_slurmctld_that_is_down_is_not_a_refused_credential(
    slurm_release: SlurmRelease,
) -> None:
    """After 9 s: 24.11 and 26.05 name it, 20.11 and 22.05 answer as to a bad token."""
    slurm_release.stop("slurmctld")
    async with connected(slurm_release) as client:
        status, text = await client.ask("alice", "GET", "/jobs")
        assert status >= 500
        assert b'"errors"' in text
        assert not client.slurmrestd.state.is_credential_refused


@pytest.mark.disturbs_slurm
async def test_a_slurmrestd_that_comes_back_is_found_and_probed_anew(
    slurm_release: SlurmRelease,
) -> None:
    async with connected(slurm_release) as client:
        await client.ask("alice", "GET", "/jobs")
        first = await client.probed()
        slurm_release.kill("slurmrestd")
        await settled(lambda: client.pool.opened == 0)
        assert client.slurmrestd.state.checks_each_request is None
        with pytest.raises(Denied) as caught:
            await client.ask("alice", "POST", "/job/submit", body={})
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert caught.value.members == {"outcome": "not-run"}
        slurm_release.start("slurmrestd")
        client.slurmrestd._next_probe = 0.0
        assert (await client.ask("alice", "GET", "/jobs"))[0] == 200
        assert await client.probed() is first


@pytest.mark.disturbs_slurm
async def test_a_slurmrestd_killed_inside_an_answer_leaves_no_whole_one(
    one_slurm_release: SlurmRelease,
) -> None:
    """A 514 kB answer that is not read any further, so that the kill comes in its middle."""
    async with connected(one_slurm_release, buffer_bytes=1) as client:
        call = AuthorizedCall(
            Operation("GET", "/openapi/v3", Risk.READ_HEAVY, False, False),
            "",
            b"/openapi/v3",
            Risk.READ,
            "",
        )
        found = await client.slurmrestd.send(
            make_grant(call, "alice", one_slurm_release.token("alice"))
        )
        assert found.whole is None
        one_slurm_release.kill("slurmrestd")
        try:
            whole = len(await text_of(found)) == found.head.length
        except UpstreamFailed:
            whole = False
        assert whole is found.is_over


def records(gateway: GatewayProcess, request_id: str) -> dict[str, Any]:
    return gateway.audit_record(request_id)


@pytest.mark.parametrize("size", [1_048_577, 8_000_000, 52_428_800])
def test_a_large_upload_reaches_slurmrestd_whole(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
    size: int,
) -> None:
    """Slurm refuses the script for its length, which it can tell only when it has read all of it.

    20.11 gets small ones. Without a gateway, and asked for something else meanwhile, it corrupts its heap and ends at
    one body of 1 or 3 MB in thirty, at none of 200 KB in sixty; asked for nothing else, sometimes at 8 MB (measured).
    """
    if slurm_release.release.slurm == CHECKS_ONCE:
        size = min(size, 200_000)
    gateway, version = shared_gateway(slurm_release), slurm_release.api_versions[0]
    body = submission(version, "#!/bin/sh\n")
    missing = size - len(json.dumps(body).encode())
    body["script"] += "#" * missing
    raw = json.dumps(body).encode()
    assert len(raw) == size
    token = identity_provider.token_for("alice")
    answer = gateway.ask("POST", f"/slurm/{version}/job/submit", token, raw)
    record = records(gateway, answer.headers["X-Request-Id"])
    assert record["bytes_in"] == size
    assert record["status"] == answer.status
    if size > 4 << 20:
        assert answer.status != 200
        assert b"cript" in answer.body or b"2012" in answer.body, answer.body[:500]
    else:
        assert answer.status == 200, answer.body


def test_a_body_above_the_cap_is_refused(
    one_slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
) -> None:
    gateway = shared_gateway(one_slurm_release)
    token = identity_provider.token_for("alice")
    target = f"/slurm/{one_slurm_release.api_versions[0]}/job/submit"
    connection = gateway.connect()
    connection.putrequest("POST", target)
    for name, value in {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Length": "52428801",
        "Expect": "100-continue",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body-too-large")
    connection.close()


def test_a_chunked_upload_becomes_a_job(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
) -> None:
    """slurmrestd itself answers 406 to chunked bodies on every release."""
    gateway, version = shared_gateway(slurm_release), slurm_release.api_versions[0]
    raw = json.dumps(submission(version, "#!/bin/sh\ntrue\n")).encode()
    with closing(gateway.connect()) as connection:
        connection.request(
            "POST",
            f"/slurm/{version}/job/submit",
            iter([raw[:50], raw[50:]]),
            {
                "Authorization": f"Bearer {identity_provider.token_for('alice')}",
                "Content-Type": "application/json; charset=utf-8",
            },
            encode_chunked=True,
        )
        answer = connection.getresponse()
        assert answer.status == 200
        job = str(json.loads(answer.read())["job_id"])
    assert records(gateway, answer.headers["X-Request-Id"])["job_ids"] == [job]


@pytest.mark.disturbs_slurm
@pytest.mark.long_on("bookworm", "trixie")
def test_the_gateway_outlives_slurmctld_and_slurmrestd(
    slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
) -> None:
    gateway, version = shared_gateway(slurm_release), slurm_release.api_versions[0]
    token = identity_provider.token_for("alice")
    submit = json.dumps(submission(version, "#!/bin/sh\ntrue\n")).encode()
    assert gateway.ask("GET", f"/slurm/{version}/jobs", token).status == 200
    slurm_release.kill("slurmrestd")
    read = gateway.ask("GET", f"/slurm/{version}/jobs", token)
    assert (read.status, read.json()["code"]) == (502, "upstream-unreachable")
    write = gateway.ask("POST", f"/slurm/{version}/job/submit", token, submit)
    assert (write.status, write.json()["outcome"]) == (502, "not-run")
    slurm_release.start("slurmrestd")
    slurm_release.stop("slurmctld")
    began = time.monotonic()
    down = gateway.ask("GET", f"/slurm/{version}/jobs", token)
    assert down.status >= 500
    assert "code" not in down.json(), "Slurm's own error, not the gateway's"
    assert time.monotonic() - began < 20
    slurm_release.start("slurmctld")
    deadline = time.monotonic() + 60
    while gateway.ask("GET", f"/slurm/{version}/jobs", token).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
