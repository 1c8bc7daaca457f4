"""What the standards ask of a proxy and its limits, by the numbers of docs/security.md: HTTP, RL, OWA, SLM, AT."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.denial import Denied
from gateway.model import Secret
from gateway.slurm_token import slurm_user_of
from lab.toml_text import Settings
from tests.configurations import token_for
from tests.fakes import make_request
from tests.integration.marked_upstream import is_made_of
from tests.security.raw_server import Answer
from tests.security.recorded_gateway import DIAG, SUBMIT, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import signed
from tests.serving import served
from tests.tokens import (
    FakeKeys,
    base_claims,
    make_stage,
    make_token,
    public_jwk,
    trusted_issuer,
)

LOW: Settings = {"limit": {"rates": {"read": "3/minute"}}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("limited"), LOW) as site:
        yield site


# AT: RFC 9068


async def verdict(header: dict[str, object], claims: dict[str, object]) -> str:
    stage = make_stage(trusted_issuer("rfc9068", FakeKeys(public_jwk("rfc9068"))))
    found = {**base_claims("rfc9068"), **claims}
    token = make_token(
        {"alg": "RS256", "kid": "k1", "typ": "at+jwt", **header},
        {name: value for name, value in found.items() if value is not None},
        "rfc9068",
    )
    try:
        identity = await stage(make_request(bearer=Secret(token)))
    except Denied as denied:
        return denied.reason.code
    return identity.subject


@pytest.mark.parametrize("typ", ["JWT", "at_jwt", "", None, "jwt"])
async def test_at_1_5_the_type_is_at_jwt(typ: object) -> None:
    assert await verdict({"typ": typ}, {}) == "token-invalid"
    assert await verdict({"typ": "application/at+jwt"}, {}) == "subject-of-alice"


@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
async def test_at_2_every_claim_that_the_profile_requires_is_there(name: str) -> None:
    assert await verdict({}, {name: None}) == "token-invalid"


async def test_at_3_the_audience_is_this_gateway() -> None:
    assert await verdict({}, {"aud": ["https://x.example"]}) == "token-invalid"


def test_at_4_groups_come_from_a_list_of_texts(site: Site) -> None:
    for groups in ({"hpc": 1}, [1, 2], [["x"]], True):
        assert site.ask(bearer=signed({}, {"groups": groups})).status in (200, 401)
    assert {sent.user for sent in site.recorder.sent} <= {"alice"}


# HTTP: RFC 9110 and 9112


def test_http_1_hop_by_hop_fields_go_neither_way(site: Site) -> None:
    site.recorder.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        b"Keep-Alive: x\r\nProxy-Authenticate: x\r\nTrailer: x\r\n\r\n{}"
    )
    answer = site.ask(
        DIAG,
        "Keep-Alive: 1",
        "Proxy-Connection: x",
        "TE: trailers",
        "Trailer: x",
        "Connection: te, x-a",
        "X-A: 1",
    )
    assert answer.status == 200
    assert not {"keep-alive", "proxy-authenticate", "trailer"} & set(answer.headers)
    assert set(site.only.names) <= {
        "host", "via", "accept", "x-slurm-user-name", "x-slurm-user-token", "content-length", "content-type",
    }  # fmt: skip


def test_http_2_the_gateway_says_that_it_was_there(site: Site) -> None:
    site.ask()
    assert "via" in site.only.names


@pytest.mark.parametrize(
    "host",
    ["", "Host: a\r\nHost: b", "Host: a b", "Host: a/b", "Host: a?x", "Host: a@b", "Host: [::1"],
)
def test_http_3_there_is_exactly_one_valid_host(site: Site, host: str) -> None:
    field = f"{host}\r\n" if host else ""
    sent = f"GET {DIAG} HTTP/1.1\r\n{field}Authorization: Bearer {token_for('alice')}\r\n\r\n"
    assert site.send(sent.encode()).startswith(b"HTTP/1.1 400 ")
    assert site.recorder.sent == []
    site.ask()
    assert site.recorder.url[7:].encode() in site.only.head, "slurmrestd gets its own"


@pytest.mark.parametrize(
    "method", ["CONNECT", "TRACE", "OPTIONS", "PUT", "PATCH", "HEAD", "get", "FOO"]
)
def test_http_4_other_methods_are_refused_and_the_three_are_named(site: Site, method: str) -> None:
    told = site.send(request(DIAG, method=method))
    status = int(told.split(b" ", 2)[1])
    assert status in (400, 405)
    assert status == 400 or b"\r\nallow: GET, POST, DELETE\r\n" in told
    assert site.recorder.sent == []


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("coding", ["gzip", "chunked, gzip", "identity", "chunked;q=1"])
def test_http_5_no_coding_but_chunked_and_none_from_http_1_0(
    site: Site, version: str, coding: str
) -> None:
    fields = ("Content-Type: application/json", f"Transfer-Encoding: {coding}")
    sent = request(SUBMIT, *fields, method="POST").replace(b"HTTP/1.1", f"HTTP/{version}".encode())
    told = site.send(sent, b"0\r\n\r\n", request())
    assert told.startswith(b"HTTP/1.1 4")
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    "line",
    [b"X: a\r\n b", b"X: a\nY: b", b"X: a\rb", b"X: a\0b", b"X : a", b": a", b"X(): a", b"X"],
)
def test_http_6_a_field_has_one_reading(site: Site, line: bytes) -> None:
    sent = request().replace(b"Host:", line + b"\r\nHost:", 1)
    assert site.send(sent).startswith(b"HTTP/1.1 400 ")
    assert site.recorder.sent == []


@pytest.mark.parametrize("chunked", [False, True])
def test_http_7_a_body_that_is_longer_than_it_says_is_not_taken(site: Site, chunked: bool) -> None:
    fields = (
        "Content-Type: application/json",
        "Transfer-Encoding: chunked" if chunked else "Content-Length: 2",
    )
    body = b"2\r\n{}{}\r\n0\r\n\r\n" if chunked else b"{}{}"
    told = site.send(request(SUBMIT, *fields, "Connection: close", method="POST"), body)
    assert all(sent.body == b"{}" for sent in site.recorder.sent)
    assert not chunked or told.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("target", "bearer", "status"),
    [(SUBMIT, None, 401), ("/slurm/v0.0.38/nodes", "alice", 403), (SUBMIT, "alice", 100)],
)
def test_http_8_a_body_is_asked_for_only_when_it_will_be_used(
    site: Site, target: str, bearer: str | None, status: int
) -> None:
    fields = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
    client = site.connect()
    client.send([request(target, *fields, method="POST", bearer=bearer)])
    assert client.answer(has_body=False).status == status
    client.close()


def test_http_9_without_a_slurmrestd_there_is_a_502_with_retry_after(tmp_path: Path) -> None:
    with served(tmp_path, {"forward": {"upstream": "http://127.0.0.1:9"}}) as gateway:
        status, fields, body = gateway.ask(DIAG, token_for("alice"))
    assert (status, json.loads(body)["code"]) == (502, "upstream-unreachable")
    assert int(fields["retry-after"]) > 0


def test_http_10_an_answer_that_breaks_off_is_not_taken_for_whole(site: Site) -> None:
    site.recorder.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 100_000
    site.recorder.closes_after_answer = True
    client = site.connect()
    client.send([request(DIAG)])
    with pytest.raises((EOFError, ConnectionError)):
        client.answer()
    client.close()
    site.recorder.closes_after_answer = False
    assert not site.gateway.records[-1]["complete"]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_http_11_interim_answers_and_answers_without_a_body_keep_their_frames(
    site: Site, status: bytes
) -> None:
    site.recorder.answer = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 " + status + b"\r\n\r\n"
    client = site.connect()
    for _ in range(2):
        client.send([request()])
        answer = client.answer()
    assert is_made_of("alice", answer.body)
    client.close()


def test_http_12_a_write_is_sent_once(site: Site) -> None:
    site.recorder.answer = b""
    site.recorder.closes_after_answer = True
    answer = site.ask(SUBMIT, method="POST", body=b"{}")
    site.recorder.closes_after_answer = False
    assert (answer.status, json.loads(answer.body)["outcome"]) == (502, "unknown")
    assert len(site.recorder.sent) == 1


def test_http_14_fields_of_slurmrestd_that_are_not_listed_stay_behind(site: Site) -> None:
    site.recorder.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: s\r\nX-Powered-By: p\r\nSet-Cookie: c\r\n"
        b"Access-Control-Allow-Origin: *\r\n\r\n{}"
    )
    answer = site.ask(DIAG, "Origin: https://evil.example")
    assert not {"server", "x-powered-by", "set-cookie", "access-control-allow-origin"} & set(
        answer.headers
    )


@pytest.mark.parametrize(
    "field",
    [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Encoding: gzip",
    ],
)
def test_http_15_other_bodies_than_json_are_refused(site: Site, field: str) -> None:
    fields = (
        field,
        "Content-Length: 2",
        *(() if "Type" in field else ("Content-Type: application/json",)),
    )
    told = site.send(request(SUBMIT, *fields, method="POST"), b"{}")
    assert told.startswith(b"HTTP/1.1 415 ")
    assert site.recorder.sent == []


def test_http_17_requests_of_one_connection_are_judged_each_for_itself(site: Site) -> None:
    client = site.connect()
    client.send([request(DIAG), request(DIAG, bearer=None), request(DIAG, bearer="bob")])
    answers = [client.answer() for _ in range(3)]
    client.close()
    assert [answer.status for answer in answers] == [200, 401, 200]
    assert is_made_of("bob", answers[2].body)
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len([one for one in site.gateway.records if one["request_id"] in ids]) == 3


# RL: RateLimit header fields


def used_up(site: Site, user: str) -> list[Answer]:
    return [site.ask(bearer=user) for _ in range(5)]


def test_rl_1_3_4_5_a_refusal_says_the_policy_and_when_to_come_back(limited: Site) -> None:
    refused = [answer for answer in used_up(limited, "carol") if answer.status == 429]
    assert len(refused) == 2
    for answer in refused:
        fields = answer.headers
        assert re.fullmatch(r'"[\w-]+";q=3;w=60', fields["ratelimit-policy"])
        found = re.fullmatch(r'"[\w-]+";r=0;t=(\d+)', fields["ratelimit"])
        assert found is not None
        assert int(fields["retry-after"]) >= int(found[1]) > 0
        assert json.loads(answer.body)["code"] == "rate-exceeded"


def test_rl_6_11_each_identity_has_its_own_and_nobody_is_named(limited: Site) -> None:
    refused = used_up(limited, "dora")[-1]
    assert refused.status == 429
    assert "dora" not in json.dumps(refused.headers)
    assert limited.ask(bearer="erin").status == 200


def test_rl_7_what_is_refused_by_a_limit_is_not_forwarded(limited: Site) -> None:
    limited.forget()
    answers = used_up(limited, "fred")
    assert len(limited.recorder.sent) == sum(answer.status == 200 for answer in answers) == 3


# OWA: OWASP API top ten; SLM: Slurm


def test_owa_1_the_slurm_token_is_always_the_callers_own(site: Site) -> None:
    for user in ("alice", "bob"):
        site.forget()
        site.ask("/slurm/v0.0.38/job/1", bearer=user)
        (sent,) = [sent for sent in site.recorder.sent if "/job/1" in sent.line]
        assert sent.slurm_claims["sun"] == sent.user == user


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/slurmdb/v0.0.38/users"), ("DELETE", "/slurmdb/v0.0.38/user/bob"), ("GET", "/slurm/v0.0.40/reconfigure"),
     ("POST", "/slurm/v0.0.40/node/n1"), ("DELETE", "/slurm/v0.0.40/node/n1"), ("DELETE", "/slurm/v0.0.40/jobs")],
)  # fmt: skip
def test_owa_5_an_operation_that_no_role_has_is_refused(
    site: Site, method: str, target: str
) -> None:
    assert site.ask(target, method=method).status == 403
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    "target",
    [
        "/slurm/v0.0.99/jobs",
        "/slurm/v0.0.34/jobs",
        "/slurm/latest/jobs",
        "/slurm/v0.0.38/secret",
        "/x",
    ],
)
def test_owa_9_what_is_not_in_the_catalogue_is_refused(site: Site, target: str) -> None:
    assert site.code(site.ask(target)) == "operation-unlisted"


def test_slm_1_name_and_token_are_sent_once_each_and_agree(site: Site) -> None:
    site.ask(DIAG, "X-SLURM-USER-NAME: root", "X-SLURM-USER-TOKEN: x")
    claims, now = site.only.slurm_claims, time.time()
    assert claims["sun"] == site.only.user == "alice"
    assert now - 120 <= claims["iat"] <= now + 1  # a token is used again while it has time left
    assert claims["exp"] <= now + 121
    assert slurm_user_of(claims) == "alice"


def test_slm_2_a_chunked_body_arrives_with_a_length(site: Site) -> None:
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked", "Connection: close")
    client = site.connect()
    client.send([request(SUBMIT, *fields, method="POST"), b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"])
    assert client.answer().status == 200
    client.close()
    assert site.only.body == b"{}"
    assert b"\r\nContent-Length: 2\r\n" in site.only.head
    assert "transfer-encoding" not in site.only.names


def test_slm_3_a_connection_of_one_user_never_serves_another(site: Site) -> None:
    for user in ("alice", "bob") * 5:
        assert is_made_of(user, site.ask(bearer=user).body)
