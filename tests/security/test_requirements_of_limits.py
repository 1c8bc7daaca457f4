"""Limits, sizes and defaults, by the numbers of docs/security.md: HTTP 7 and 16, RL, OWA."""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.app_doubts import find_doubts
from gateway.app_throttle import read_rates
from gateway.config.limit import Rates
from gateway.denial import Denied
from gateway.edges.buckets import MemoryBuckets
from gateway.model import Risk
from gateway.stages.limit import Limit, Rate
from gateway.web.portal import METADATA_PATH
from gateway.web.tls import new_context, read_pair
from lab.toml_text import Settings
from tests.asgi_client import AsgiClient
from tests.configurations import configuration, token_for
from tests.fakes import make_call, make_identity
from tests.integration.crowd import eventually
from tests.proxy_world import World
from tests.security.recorded_gateway import DIAG, SUBMIT, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import signed
from tests.serving import READ, Asking, SlowSlurm, served, trusting, write_pair

USER: dict[str, Any] = {
    "allow": ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE", "ALLOCATE"],
    "permit_fields": [],
    "maximum": {"time_limit": 60, "array": 100, "nodes": 4},
    "only_values": {"account": ["physics"]},
    "forbid_fields": ["reservation"],
    "forbid_environment": ["LD_*"],
}
STRICT: Settings = {
    "server": {"trusted_proxies": ["127.0.0.1/32"]},
    "receive": {"maximum_body_bytes": 1000},
    "authorize": {"roles": {"user": USER}},
    "limit": {"rates": {"submit": "1000000/second", "allocate": "3/minute"}, "failed_authentications": "1000/day",
              "failed_authentications_per_subject": "2/day"},
}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("strict"), STRICT) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


# HTTP


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(DIAG + "?" + "x" * (8192 - len(DIAG))), 414),
        (request(DIAG, "X: " + "x" * 32_768), 431),
        (request(DIAG, *(f"X-{n}: x" for n in range(100))), 431),
        (request(SUBMIT, "Content-Type: application/json", "Content-Length: 1001", method="POST"), 413),
        (request(SUBMIT, "Content-Type: application/json", method="POST"), 400),
        (request(DIAG, "Content-Type: application/json", "Content-Length: 2") + b"{}", 400),
    ],
    ids=["target", "bytes of the head", "fields", "stated body", "no body", "body of a GET"],
)  # fmt: skip
def test_http_7_what_is_too_much_or_too_little_is_refused(
    site: Site, sent: bytes, status: int
) -> None:
    assert site.send(sent).startswith(b"HTTP/1.1 %d " % status)
    assert site.recorder.sent == []


def test_http_7_a_body_without_a_stated_length_ends_at_the_cap(site: Site) -> None:
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    client = site.connect()
    client.send([request(SUBMIT, *fields, method="POST"), b"100\r\n" + b"[" * 256 + b"\r\n"])
    client.send([b"300\r\n" + b"[" * 768 + b"\r\n"])
    answer = client.answer()
    client.close()
    assert (answer.status, site.code(answer)) == (413, "body-too-large")
    assert answer.headers["connection"] == "close"


def test_http_16_tls_is_new_and_its_certificate_is_renewed_without_a_restart(
    tmp_path: Path,
) -> None:
    with served(tmp_path, write_pair(tmp_path)) as gateway:

        def handshake(newest: ssl.TLSVersion) -> tuple[str | None, str | None, bytes | None]:
            context = trusting()
            context.set_alpn_protocols(["h2", "http/1.1"])
            context.maximum_version = newest
            bare = socket.create_connection(("127.0.0.1", gateway.port))
            with bare, context.wrap_socket(bare, server_hostname="localhost") as secured:
                certificate = secured.getpeercert(binary_form=True)
                return secured.version(), secured.selected_alpn_protocol(), certificate

        newest = ssl.TLSVersion.TLSv1_3
        version, protocol, before = handshake(newest)
        assert (version, protocol) == ("TLSv1.3", "http/1.1")
        assert handshake(ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
        write_pair(tmp_path)
        assert gateway.run("reload").returncode == 0
        assert handshake(newest)[2] != before
    context = new_context(read_pair(tmp_path / "tls.crt", tmp_path / "tls.key"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


# RL: RateLimit header fields


def test_rl_2_no_field_comes_in_a_trailer(site: Site) -> None:
    """There are none: each answer of the gateway has a length."""
    target = "/slurm/v0.0.45/job/allocate"
    sent = request(target, method="POST", body=b'{"job":{}}', bearer="gina")
    answers = [site.send(sent) for _ in range(5)]
    assert [told[9:12] for told in answers] == [b"200"] * 3 + [b"429"] * 2
    for told in answers[3:]:
        head, _, body = told.lower().partition(b"\r\n\r\n")
        assert b"\r\nratelimit: " in head
        assert b"trailer" not in head
        assert b"\r\ncontent-length: %d" % len(body) in head


@pytest.fixture(scope="module")
def scarce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Behind a proxy that says where its clients are."""
    changes: Settings = {
        "server": {"trusted_proxies": ["127.0.0.1/32"]},
        "limit": {"anonymous_requests": "3/day"},
    }
    with recorded_gateway(tmp_path_factory.mktemp("scarce"), changes) as site:
        site.forget()
        yield site


def statuses(site: Site, target: str, addresses: Sequence[str], bearer: str | None) -> list[int]:
    """Of one request from each address."""
    return [site.ask(target, f"X-Forwarded-For: {one}", bearer=bearer).status for one in addresses]


def test_rl_6_requests_without_a_token_have_a_rate_by_address(scarce: Site) -> None:
    """One with a token is none of them, whatever its address has done, and neither is one from nowhere."""
    here, other = "203.0.113.60", "203.0.113.61"
    answers = [scarce.ask(DIAG, f"X-Forwarded-For: {here}", bearer=None) for _ in range(5)]
    assert [answer.status for answer in answers] == [401] * 3 + [429] * 2
    assert scarce.code(answers[-1]) == "anonymous-throttled"
    assert int(answers[-1].headers["retry-after"]) > 0
    assert here not in json.dumps(answers[-1].headers) + answers[-1].body.decode()
    assert statuses(scarce, DIAG, [other], None) == [401]
    assert statuses(scarce, DIAG, [here] * 4, "nora") == [200] * 4
    assert statuses(scarce, DIAG, [here], "x.y.z") == [401]
    network = [f"2001:db8::{n}" for n in range(1, 5)]
    assert statuses(scarce, DIAG, [*network, "2001:db8:0:1::1"], None) == [401] * 3 + [429, 401]
    assert [scarce.ask(DIAG, bearer=None).status for _ in range(5)] == [401] * 5
    scarce.forget()


def test_rl_6_what_is_refused_without_a_token_is_recorded_and_counted(scarce: Site) -> None:
    here = "203.0.113.70"
    assert statuses(scarce, DIAG, [here] * 5, None)[3:] == [429] * 2
    records = [one for one in scarce.gateway.records if one["client_address"] == here]
    assert [one["code"] for one in records] == ["token-missing"] * 3 + ["anonymous-throttled"] * 2
    assert {one["rule"] for one in records[3:]} == {"limit.anonymous_requests"}
    metrics = scarce.gateway.operations("/metrics")[1].decode()
    found = re.search(r'refusals_total\{code="anonymous-throttled"\} ([0-9.]+)', metrics)
    assert found is not None
    assert float(found[1]) >= 2


def test_prm_3_the_metadata_have_a_rate_by_address_too(scarce: Site) -> None:
    """Together with whatever else is asked for without a token; a token that has verified is always heard."""
    here = "203.0.113.80"
    assert statuses(scarce, METADATA_PATH, [here] * 2, None) == [200] * 2
    assert statuses(scarce, "/gateway/nothing", [here] * 2, None) == [404, 429]
    assert statuses(scarce, DIAG, [here], None) == [429]
    good = token_for("olga")
    assert statuses(scarce, METADATA_PATH, [here] * 2, good) == [429] * 2
    assert statuses(scarce, DIAG, [here], good) == [200]
    assert statuses(scarce, METADATA_PATH, [here] * 2, good) == [200] * 2
    assert statuses(scarce, METADATA_PATH, ["203.0.113.81"], None) == [200]
    scarce.forget()


@pytest.mark.parametrize("amount", [1, 50, 999])
async def test_rl_8_a_thousand_at_once_get_exactly_the_amount(amount: int) -> None:
    rates = {**read_rates(Rates()), Risk.READ: Rate("read", amount, 3600)}
    limit, call = Limit(rates, MemoryBuckets(), 10_000), make_call()
    asked = [limit(make_identity(), call) for _ in range(1000)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Denied) for answer in answers) == 1000 - amount


async def test_rl_9_a_store_that_fails_admits_nobody() -> None:
    world, client = World(fails={"limit": ConnectionError("store")}), AsgiClient()
    record = await world.serve(client)
    assert (client.status, record.code) == (500, "internal-error")
    assert world.upstream.grants == []


def test_rl_10_what_is_dear_has_a_rate_of_its_own_and_waiting_has_an_end(tmp_path: Path) -> None:
    slow = SlowSlurm()
    changes: Settings = {
        "limit": {"concurrent_per_identity": 2, "queue_seconds": 5},
        "forward": {"upstream": slow.url, "connections": 4},
    }
    with served(tmp_path, changes) as gateway:
        holds = Asking(gateway, token_for("alice"))
        assert slow.asked.wait(60)
        waits = Asking(gateway, token_for("alice"))
        eventually(lambda: b"slurm_gateway_queue_length 1" in gateway.operations("/metrics")[1])
        status, fields, body = gateway.ask(READ, token_for("alice"))
        assert (status, json.loads(body)["code"]) == (429, "concurrency-exceeded")
        status, fields, body = waits.wait()
        assert (status, json.loads(body)["code"]) == (503, "busy")
        assert int(fields["retry-after"]) > 0
        slow.go.set()
        assert holds.wait()[0] == 200
    slow.close()
    rates = read_rates(Rates())
    assert rates[Risk.READ].amount >= 5 * rates[Risk.SUBMIT].amount


def test_rl_12_the_fields_of_old_drafts_are_not_sent(site: Site) -> None:
    sent = request("/slurm/v0.0.45/job/allocate", method="POST", body=b'{"job":{}}', bearer="hugo")
    answers = [site.send(sent) for _ in range(5)]
    assert answers[-1].startswith(b"HTTP/1.1 429 ")
    assert not [told for told in answers if b"x-ratelimit" in told.lower()]


# OWA: OWASP API top ten


def test_owa_2_who_guesses_tokens_is_not_heard_for_a_while(site: Site) -> None:
    """By address and claimed subject, whoever else comes from there; tokens known to be good go on."""
    good, address = token_for("ida"), "X-Forwarded-For: 203.0.113.50"
    assert site.ask(DIAG, address, bearer=good).status == 200
    site.forget()
    forged = f"{good[:-8]}AAAAAAAA"
    answers = [site.ask(DIAG, address, bearer=forged) for _ in range(4)]
    assert [answer.status for answer in answers] == [401, 401, 429, 429]
    assert {site.code(answer) for answer in answers[2:]} == {"authentication-throttled"}
    assert int(answers[-1].headers["retry-after"]) > 0
    assert site.ask(DIAG, address, bearer=good).status == 200
    assert site.ask(DIAG, address, bearer="joan").status == 200
    assert site.ask(DIAG, "X-Forwarded-For: 203.0.113.51", bearer="ida").status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"job": {"user_id": 0}}, "job.user_id"), ({"job": {"USER_ID": "0"}}, "job.USER_ID"),
        ({"jobs": [{"group_id": 0}]}, "jobs[0].group_id"), ({"job": {"account": "chemistry"}}, "job.account"),
        ({"job": {"reservation": "maintenance"}}, "job.reservation"),
        ({"job": {"environment": {"LD_PRELOAD": "/x"}}}, "job.environment.LD_PRELOAD"),
        ({"job": {"environment": ["LD_LIBRARY_PATH=/x"]}}, "job.environment.LD_LIBRARY_PATH"),
    ],
    ids=str,
)  # fmt: skip
def test_owa_3_a_field_that_is_not_for_everybody_is_refused(
    site: Site, body: dict[str, Any], field: str
) -> None:
    answer = site.ask(SUBMIT, method="POST", body=json.dumps({"script": "#!", **body}).encode())
    assert site.code(answer) == "field-forbidden"
    assert json.loads(answer.body)["field"] == field


@pytest.mark.parametrize(
    "job",
    [{"time_limit": 61}, {"time_limit": "1-0"}, {"array": "0-100"}, {"nodes": 5}, {"time_limit": {"infinite": True}},
     {"maximum_nodes": 5}, {"time_limit": 1e400}, {"nodes": "1-5"}, {"array": "1-1000%1"}],
    ids=str,
)  # fmt: skip
def test_owa_4_what_a_job_may_take_has_a_cap(site: Site, job: dict[str, Any]) -> None:
    body = json.dumps({"script": "#!", "job": job}).replace("Infinity", "1e400").encode()
    assert site.code(site.ask(SUBMIT, method="POST", body=body)) in (
        "field-forbidden",
        "body-malformed",
    )


def test_owa_6_a_flood_of_submissions_is_one_users_own(tmp_path: Path) -> None:
    with recorded_gateway(tmp_path, {"limit": {"rates": {"submit": "3/minute"}}}) as site:
        site.forget()
        statuses = [site.ask(SUBMIT, method="POST", body=b"{}").status for _ in range(6)]
        assert statuses == [200] * 3 + [429] * 3
        assert len(site.recorder.sent) == 3
        assert site.ask(SUBMIT, method="POST", body=b"{}", bearer="bob").status == 200


def test_owa_7_no_address_that_a_client_names_is_ever_asked(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        for header in ({"jku": url}, {"x5u": url}, {"kid": url}):
            site.ask(bearer=signed(header, {"sub": f"of {header}"}))
        site.ask(bearer=signed({}, {"iss": url, "aud": url, "sub": url}))
        fields = (
            f"X-Forwarded-Host: 127.0.0.1:{port}",
            f"Forwarded: host=127.0.0.1:{port}",
            f"Referer: {url}",
        )
        site.ask(DIAG, *fields, f"Origin: {url}")
        site.ask(f"{DIAG}?callback={url}")
        site.send(request(f"{url}{DIAG}"))
        site.send(request(DIAG).replace(b"slurm.example.org", b"127.0.0.1:%d" % port))
        site.ask(
            SUBMIT,
            method="POST",
            body=json.dumps({"script": url, "job": {"comment": url}}).encode(),
        )
        with pytest.raises(TimeoutError):
            listener.accept()


def test_owa_8_what_is_not_said_is_the_safe_choice(site: Site) -> None:
    config = configuration()
    assert find_doubts(config) == []
    assert str(config.server.operations_listen).startswith("127.0.0.1:")
    allowed = {name for role in config.authorize.roles.values() for name in role.allow}
    assert not {
        name for name in allowed if "ADMIN" in name or "SENSITIVE" in name or "BULK" in name
    }
    assert not config.server.trusted_proxies
    assert not config.receive.accept_yaml
    for path in ("/docs", "/redoc", "/openapi.json", "/openapi/v3", "/gateway/docs", "/debug"):
        assert site.ask(path, bearer=None).status in (401, 404)
    assert "server" not in site.ask(bearer="kate").headers


@pytest.mark.parametrize(
    "told",
    [
        b"\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab", b"<html>" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"HTTP/2 200\r\n\r\n",
    ],
    ids=range(10),
)  # fmt: skip
def test_owa_10_an_answer_of_slurmrestd_that_is_none_is_a_502(site: Site, told: bytes) -> None:
    site.recorder.answer = told
    site.recorder.closes_after_answer = True
    try:
        answer = site.ask(bearer="lena")
    finally:
        site.recorder.closes_after_answer = False
    assert answer.status == 502
    assert json.loads(answer.body)["code"].startswith("upstream-")
