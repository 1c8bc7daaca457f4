"""tests/security/corpus/raw_requests.toml -> exactly the admitted requests reach the application, or nothing."""

import json
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from gateway.web.configured_protocol import ProtocolLimits
from tests.security.raw_server import Answer, RawClient, RawServer, raw_server

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/raw_requests.toml").read_text())["request"]
BYTEWISE_LIMIT = 4096
PIECE_BYTES = 257


@pytest.fixture(scope="module")
def running() -> Generator[RawServer, None, None]:
    with raw_server(ProtocolLimits(header_seconds=1.0, linger_seconds=1.0)) as server:
        yield server


@pytest.fixture
def server(running: RawServer) -> RawServer:
    running.forget()
    return running


def why(case: dict[str, Any]) -> str:
    return str(case["why"])


def filled(case: dict[str, Any], text: str) -> bytes:
    fill = case.get("fill", "") * case.get("fill_count", 0)
    return text.replace("{fill}", fill).encode("latin-1")


def in_one_go(raw: bytes) -> list[bytes]:
    return [raw]


def in_small_pieces(raw: bytes) -> list[bytes]:
    size = 1 if len(raw) <= BYTEWISE_LIMIT else PIECE_BYTES
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def assert_problem(answer: Answer) -> str:
    """RFC 9457, with nothing that could be cached or mixed up; its code."""
    problem = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["status"] == answer.status
    assert problem["type"].endswith(f"/{problem['code']}")
    assert problem["instance"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    return str(problem["code"])


@pytest.mark.parametrize("cut", [in_one_go, in_small_pieces])
@pytest.mark.parametrize("case", CORPUS, ids=why)
def test_only_what_was_admitted_reaches_the_application(
    server: RawServer, case: dict[str, Any], cut: Any
) -> None:
    """However the bytes are cut on their way."""
    client = RawClient(server.address)
    client.send(cut(filled(case, case["raw"])))
    has_body = not case["raw"].startswith("HEAD")
    answers = [client.answer(has_body=has_body) for _ in case["answers"]]
    if not case["closes"]:
        client.hang_up()
    assert client.rest() == b""
    client.close()

    assert [answer.status for answer in answers] == case["answers"]
    codes = [assert_problem(a) for a in answers if a.status >= 400 and has_body]
    assert codes == case.get("codes", codes)
    wanted = [filled(case, name).decode() for name in case["reaches"]]
    assert [admitted.name for admitted in server.application.admitted] == wanted
    if "bodies" in case:
        bodies = [admitted.body.decode("latin-1") for admitted in server.application.admitted]
        assert bodies == case["bodies"]
    refusals = sum(status >= 400 for status in case["answers"])
    assert len(server.refusals) + len(server.application.denied) == refusals
    if case["closes"] and codes:
        assert answers[-1].headers["connection"] == "close"
