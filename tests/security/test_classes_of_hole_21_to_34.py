"""The classes of hole around a pipeline: addresses, failures, names, deadlines, logs, errors. See the first file."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.edges.few_threads import FewThreads
from gateway.edges.signing_key import SigningKeyFile
from gateway.stages.credential import CredentialDoubt
from tests.asgi_client import AsgiClient
from tests.configurations import token_for
from tests.proxy_world import World
from tests.security.recorded_gateway import DIAG, PICKY, SUBMIT, Site, recorded_gateway, request
from tests.security.test_classes_of_hole import claims_of, signed
from tests.tokens import make_token


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with recorded_gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.forget()
    return running


def record_of(site: Site, request_id: str) -> dict[str, object]:
    found = [record for record in site.gateway.records if record["request_id"] == request_id]
    assert len(found) == 1
    return dict(found[0])


@pytest.mark.parametrize(
    "field",
    ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1, 10.0.0.1", "X-Real-IP: 203.0.113.9",
     "Forwarded: for=203.0.113.9", "X-Forwarded-For: ::ffff:203.0.113.9"],
)  # fmt: skip
def test_hole_21_an_address_that_the_client_claims_is_not_its_address(
    site: Site, field: str
) -> None:
    answer = site.ask(DIAG, field)
    assert record_of(site, answer.headers["x-request-id"])["client_address"] == "127.0.0.1"
    assert not {"x-forwarded-for", "forwarded", "x-real-ip"} & set(site.only.names)


@pytest.mark.parametrize("field", ["X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http"])
def test_hole_21_host_and_scheme_are_never_taken_from_a_client(site: Site, field: str) -> None:
    answer = site.ask(DIAG, field, bearer=None)
    assert 'resource_metadata="https://slurm.example.org/' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "agent", ["kube-probe/1.30", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Prometheus/2.50"]
)
def test_hole_22_no_agent_and_no_path_gets_in_without_a_token(site: Site, agent: str) -> None:
    assert site.ask(DIAG, f"User-Agent: {agent}", bearer=None).status == 401
    for path in ("/healthz", "/readyz", "/metrics", "/ping", "/ready", "/docs", "/openapi.json"):
        assert site.ask(path, f"User-Agent: {agent}", bearer=None).status in (401, 404)
    assert site.recorder.sent == []


STAGES = ["authenticate", "map_user", "authorize", "limit", "slots", "credential", "open"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("x"), OSError(5, "x")], ids=repr)
async def test_hole_23_whatever_fails_the_answer_is_no(stage: str, error: Exception) -> None:
    world, client = World(fails={stage: error}), AsgiClient()
    await world.serve(client)
    assert client.status >= 500
    assert world.upstream.grants == []
    world.assert_nothing_is_held()


@pytest.mark.parametrize("user", ["", None, 0, False, [], {}, ["alice"]], ids=repr)
def test_hole_23_an_empty_claim_is_nobody(site: Site, user: object) -> None:
    assert site.code(site.ask(bearer=signed({}, {"uid": user}))) == "user-unmapped"


@pytest.mark.parametrize(
    "user",
    ["Alice", "alice ", " alice", "alice@x@y", "alice@", "\uff41lice", "a\u0301lice", "\u0430lice", "alice.",
     "alice\u0000", "alice\n", "alice/../root", "x" * 33, "0", "1000", "-alice", "ali ce", "ALICE", "al\u200bice"],
)  # fmt: skip
def test_hole_24_a_name_that_looks_like_a_user_is_none(site: Site, user: str) -> None:
    code = site.code(site.ask(bearer=signed({}, {"uid": user})))
    assert code == ("token-invalid" if "\0" in user else "user-unmapped")


@pytest.mark.parametrize("user", ["root", "slurm"])
def test_hole_24_nobody_is_root_or_slurm(site: Site, user: str) -> None:
    assert site.code(site.ask(bearer=token_for(user))) == "user-forbidden"


def test_hole_24_who_somebody_is_hangs_on_issuer_and_subject(site: Site) -> None:
    """The rules of one issuer never map the tokens of another."""
    token = make_token(
        {"alg": "PS256", "kid": "k1"}, claims_of({"iss": PICKY}), "rsa:picky", "PS256"
    )
    assert site.code(site.ask(bearer=token)) == "user-unmapped"


def test_hole_25_there_is_no_http_2(site: Site) -> None:
    told = site.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert told.startswith(b"HTTP/1.1 4")
    assert told.count(b"\r\ncontent-length:") == 1


def test_hole_26_a_head_and_a_body_have_deadlines(site: Site) -> None:
    for begun, code in (
        (request(DIAG)[:-2], "headers-timeout"),
        (request(SUBMIT, method="POST", body=b"{}" * 50)[:-60], "body-timeout"),
    ):
        client = site.connect()
        client.send([begun])
        assert json.loads(client.answer().body)["code"] == code
        client.close()
    assert site.recorder.sent == []


@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        ("GET", DIAG, [f"X-{n}: x" for n in range(101)], 431),
        ("GET", DIAG, ["X: " + "x" * 40_000], 431),
        ("GET", DIAG + "?" + "x" * 9_000, [], 414),
        ("POST", SUBMIT, ["Content-Type: application/json", "Content-Length: 52428801"], 413),
    ],
    ids=["fields", "bytes", "target", "body"],
)
def test_hole_26_everything_has_a_size(
    site: Site, method: str, target: str, fields: list[str], status: int
) -> None:
    head = request(target, *fields, method=method)
    assert site.send(head).startswith(b"HTTP/1.1 %d " % status)
    assert site.recorder.sent == []


def test_hole_26_an_answer_without_an_end_is_not_read_for_ever(site: Site) -> None:
    site.recorder.answer = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000 + b"\r\n\r\n"
    answer = site.ask()
    assert (answer.status, json.loads(answer.body)["code"]) == (502, "upstream-invalid")


def test_hole_27_an_admins_pattern_does_not_backtrack(site: Site) -> None:
    """With a matcher that does, this would take longer than the universe has existed."""
    claims = claims_of({"iss": PICKY, "uid": "a" * 5_000 + "!"})
    token = make_token({"alg": "PS256", "kid": "k1"}, claims, "rsa:picky", "PS256")
    assert site.code(site.ask(bearer=token)) == "user-unmapped"


CANARY = "\r\n{}\x1b[2J\x9b\u2028\u2029canary\x00"


def test_hole_28_what_is_sent_cannot_break_a_line_of_the_audit(site: Site) -> None:
    for text in (CANARY, CANARY.replace("\0", "")):
        site.ask(bearer=signed({}, {"sub": text, "client_id": text}))
        site.ask(bearer=signed({}, {"uid": text}))
    site.send(b"GET /slurm/\x1b[2J%0d%0a{} HTTP/1.1\r\nHost: a\r\n\r\n")
    site.ask("/slurm/%1b%0d%0a%e2%80%a8")
    raw = (site.gateway.folder / "audit.jsonl").read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80[\xa8\xa9]|\xc2[\x80-\x9f]", raw)
    lines = raw.decode().split("\n")
    assert all(json.loads(line)["event"] for line in lines[:-1])


def test_hole_28_no_token_is_in_a_log_or_an_audit(site: Site) -> None:
    tokens = [token_for("alice"), signed({"kid": "unknown"}), signed({}, {"exp": 1})]
    for token in tokens:
        site.ask(bearer=token)
        site.ask(f"{DIAG}?access_token={token}", bearer=None)
    slurm = [_slurm_token(one.head) for one in site.recorder.sent]
    assert slurm
    secrets = [part for token in (*tokens, *slurm) for part in token.split(".")[1:]]
    written = site.gateway.log + (site.gateway.folder / "audit.jsonl").read_text()
    assert not [part for part in secrets if part in written]


def _slurm_token(head: bytes) -> str:
    found = re.search(rb"\r\nX-SLURM-USER-TOKEN: (\S+)\r\n", head)
    assert found is not None
    return found[1].decode()


def test_hole_29_all_bad_tokens_get_one_text(site: Site) -> None:
    """Neither a key id nor a user nor a claim can be guessed from an answer."""
    good = token_for("alice")
    tokens = [
        good[:-6] + "AAAAAA", signed({"kid": "unknown"}), signed({}, {"exp": 1}), signed({}, {"aud": "x"}),
        signed({}, {"iss": "https://unknown.example"}), signed({"alg": "none"}),
    ]  # fmt: skip
    shown = set()
    for token in tokens:
        answer = site.ask(bearer=token)
        told = json.loads(answer.body)
        told.pop("instance", None)
        told.pop("request_id", None)
        shown.add((answer.status, json.dumps(told), answer.headers["www-authenticate"]))
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("mode", "content"), [(0o644, b"k" * 32), (0o600, b""), (0o666, b"k" * 32)]
)
async def test_hole_30_a_key_that_others_can_read_or_that_is_none_signs_nothing(
    tmp_path: Path, mode: int, content: bytes
) -> None:
    path = tmp_path / "jwt_hs256.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(CredentialDoubt):
        await SigningKeyFile(
            path,
            FewThreads(1),
            group_readable=False,
            credentials_directory=None,
            own_uid=path.stat().st_uid,
        )()


def test_hole_31_a_slurm_token_ends_with_the_callers(site: Site) -> None:
    for seconds in (20, 45, 600):
        site.forget()
        assert site.ask(bearer=token_for("alice", seconds)).status == 200
        exp = site.only.slurm_claims["exp"]
        assert exp <= time.time() + min(120, seconds + 30)


def test_hole_31_a_token_that_has_ended_is_not_remembered(site: Site) -> None:
    token = token_for("alice", -28)  # within the leeway of 30 s, for 2 s more
    end = time.monotonic() + 10
    while site.ask(bearer=token).status != 401:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_hole_32_neither_bearer_nor_cookie_goes_on_to_slurmrestd(site: Site) -> None:
    token = token_for("alice")
    site.ask(
        DIAG,
        "Cookie: a=canary",
        "Proxy-Authorization: Basic canary",
        "X-Api-Key: canary",
        bearer=token,
    )
    assert token.encode() not in site.only.head
    assert b"canary" not in site.only.head
    assert not {"authorization", "cookie", "proxy-authorization"} & set(site.only.names)


def test_hole_32_a_redirect_of_slurmrestd_is_followed_by_nobody(site: Site) -> None:
    site.recorder.answer = (
        b"HTTP/1.1 307 X\r\nLocation: http://evil.example/\r\nSet-Cookie: a=b\r\nServer: x\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    answer = site.ask()
    assert not {"location", "set-cookie", "server"} & set(answer.headers)
    assert len(site.recorder.sent) == 1


@pytest.mark.parametrize(
    "target", ["/<script>alert(1)</script>", "/%3Cscript%3E", f"{DIAG}?<script>=1"]
)
@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_hole_34_an_error_shows_nothing_that_was_sent_and_is_no_page(
    site: Site, target: str, accept: str
) -> None:
    answer = site.ask(target, f"Accept: {accept}")
    assert answer.status >= 400
    assert b"script" not in answer.body.lower()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
