"""Problem documents: RFC 9457, and nothing in them that is not public."""

import json

import pytest

from gateway.denial import Denied, Reason
from gateway.web.problems import render


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.code)
def test_each_reason_gives_a_whole_problem_document(reason: Reason) -> None:
    status, headers, body = render(Denied(reason, "internal note"), "id-1")
    fields = dict(headers)
    document = json.loads(body)
    assert status == document["status"] == reason.status
    assert document["type"] == f"/gateway/errors/{reason.code}"
    assert document["code"] == reason.code
    assert (
        document["instance"] == document["request_id"] == fields[b"x-request-id"].decode() == "id-1"
    )
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"content-length"] == str(len(body)).encode()
    assert fields[b"cache-control"] == b"no-store"
    assert b"internal note" not in body


def test_public_members_and_headers_are_shown() -> None:
    denied = Denied(
        Reason.UPSTREAM_TIMEOUT, members={"outcome": "unknown"}, headers=(("Retry-After", "3"),)
    )
    _, headers, body = render(denied, "id-1")
    assert json.loads(body)["outcome"] == "unknown"
    assert (b"retry-after", b"3") in headers


def test_codes_are_unique_and_in_kebab_case() -> None:
    codes = [reason.code for reason in Reason]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("-", "").isalpha() and code == code.lower() for code in codes)
