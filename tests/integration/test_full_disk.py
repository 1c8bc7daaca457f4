"""A state directory without room: large bodies are refused, small ones pass, and room mends it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab import machine
from tests.configurations import token_for
from tests.integration.crowd import SUBMIT, connect, head, record_of, serving
from tests.integration.marked_upstream import MarkedUpstream, marked_upstream
from tests.serving import Served

SMALL, LARGE = 1000, 12_000_000

pytestmark = pytest.mark.skipif(bool(machine.missing()), reason="cannot mount")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", *arguments], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory on a file system of 4 MiB."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    mount("-o", "size=4m,mode=0700", "tmpfs", str(state))
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(state)], check=True)


@pytest.fixture
def upstream() -> Iterator[MarkedUpstream]:
    with marked_upstream({}) as running:
        yield running


def answer_to(gateway: Served, size: int) -> tuple[int, dict[str, str], bytes]:
    """(status, fields, body) of a submit of so many bytes."""
    with connect(gateway) as client:
        fields = ("Content-Type: application/json", f"Content-Length: {size}", "Connection: close")
        client.sendall(head("POST", SUBMIT, token_for("alice"), *fields))
        with suppress(OSError):  # it may be answered before the body's end
            client.sendall(b"{" + b" " * (size - 2) + b"}")
        data = b""
        while piece := client.recv(65536):
            data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    named = (re.split(": *", line, maxsplit=1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in named}, body


def test_a_body_that_the_disk_does_not_take_is_refused_and_nothing_is_sent(
    disk: Path, upstream: MarkedUpstream
) -> None:
    with serving(disk, upstream.url, {}) as gateway:
        status, fields, body = answer_to(gateway, LARGE)
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "spool-unavailable")
        assert (problem["outcome"], fields["retry-after"]) == ("not-run", "5")
        assert upstream.uploads == []
        record = record_of(gateway, fields["x-request-id"])
        assert (record["code"], record["verdict"]) == ("spool-unavailable", "denied")
        assert "No space left" in str(record["note"])
        assert answer_to(gateway, SMALL)[0] == 200, "what needs no disk is served"
        assert answer_to(gateway, LARGE)[0] == 503, "the room of the first one was given back"
        mount("-o", "remount,size=64m", "tmpfs", str(disk / "state"))
        assert answer_to(gateway, LARGE)[0] == 200
        assert [upload.length for upload in upstream.uploads] == [SMALL, LARGE]
