"""The search for secrets finds each of them, in each form, in each kind of file; and only what should not be there."""

import base64
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from lab import places
from lab.submission import CANARY, submission
from tests.canaries import forms, search
from tests.configurations import token_for

KEY = bytes(range(200, 232))


def leaks_of(folder: Path, content: bytes, name: str = "gateway.log") -> list[str]:
    """What is found in one file, which is gone again: this run, too, is searched in the end."""
    file = folder / name
    file.write_bytes(content)
    found = search(folder)
    file.unlink()
    assert {leak.path for leak in found} <= {file}
    return [leak.what for leak in found]


def test_every_job_script_carries_the_canary() -> None:
    assert CANARY in submission("v0.0.42", "#!/bin/sh\n")["script"]


FORMS: list[Callable[[bytes], bytes]] = [
    bytes,
    lambda secret: secret.hex().encode(),
    lambda secret: secret.hex().upper().encode(),
    lambda secret: quote(secret, safe="").encode(),
    lambda secret: "".join(f"%{byte:02X}" for byte in secret).encode(),
    lambda secret: json.dumps({"script": secret.decode("latin-1")}).encode("latin-1"),
    *[
        lambda secret, behind=behind: base64.b64encode(behind + secret + b"tail")
        for behind in (b"", b"a", b"ab", b"abc", b"abcd")
    ],
    lambda secret: base64.urlsafe_b64encode(b"x" + secret).rstrip(b"="),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_canary_is_found_in_every_form(tmp_path: Path, form: Callable[[bytes], bytes]) -> None:
    assert leaks_of(tmp_path, b"text " + form(CANARY.encode()) + b" text") == ["the canary"]


@pytest.mark.parametrize("form", FORMS[:5] + FORMS[6:])
@pytest.mark.parametrize("stored", [KEY, json.dumps({"chain": "c", "key": KEY.hex()}).encode()])
def test_a_key_is_found_beside_its_own_file_and_around_a_state_directory(
    tmp_path: Path, form: Callable[[bytes], bytes], stored: bytes
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "audit-chain.key").write_bytes(stored)
    said = ["the key of audit-chain.key"]
    assert leaks_of(tmp_path, b"text " + form(KEY)) == said
    assert leaks_of(state, b"text " + form(KEY), "idempotency.sqlite-wal") == said


@pytest.mark.parametrize(
    "said",
    [
        lambda token: f"Authorization: Bearer {token}",
        lambda token: f"target /x?token={quote(token, safe='')}",
        lambda token: base64.b64encode(token.encode()).decode(),
        lambda token: base64.b64encode(f"Bearer {token}".encode()).decode(),
    ],
)
def test_a_token_is_found(tmp_path: Path, said: Callable[[str], str]) -> None:
    found = leaks_of(tmp_path, said(token_for("alice")).encode())
    assert found[0].startswith("a token")


def test_a_private_key_is_found(tmp_path: Path) -> None:
    begin = "-----BEGIN {} KEY-----".format("EC PRIVATE")
    assert leaks_of(tmp_path, f"{begin}\nMHc".encode()) == ["a private key"]


def test_compressed_audit_files_are_read_and_broken_ones_do_not_matter(tmp_path: Path) -> None:
    packed = gzip.compress(b"x" * 100_000 + CANARY.encode())
    assert leaks_of(tmp_path, packed, "audit-1.jsonl.gz") == ["the canary"]
    assert leaks_of(tmp_path, packed[:-8], "audit-1.jsonl.gz") == ["the canary"]
    assert leaks_of(tmp_path, b"no gzip", "audit-1.jsonl.gz") == []
    assert leaks_of(tmp_path, b"", "empty") == []


def test_what_is_no_secret_is_left_alone(tmp_path: Path) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode()
    assert leaks_of(tmp_path, f"token_hash {'0' * 64} {header} canary".encode()) == []


def test_key_files_and_tokens_that_are_handed_over_are_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_bytes(KEY)
    (tmp_path / "token").write_text(token_for("alice"))
    assert search(tmp_path) == []


def test_each_form_is_long_enough_to_mean_something() -> None:
    assert min(map(len, forms(CANARY.encode()))) >= len(CANARY)


LEAKY = """
import logging
from lab import places
from lab.submission import CANARY

def test_that_passes(tmp_path):
    logging.getLogger("gateway").error("something %s", CANARY[:CUT])
"""


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("cut", "exit_code"), [(None, 1), (6, 0)])
def test_a_run_whose_tests_pass_fails_where_a_secret_was_logged(
    workers: str, cut: int | None, exit_code: int
) -> None:
    """In a folder of its own: what leaks there shall not fail this run."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_leaky.py").write_text(LEAKY.replace("CUT", str(cut)))
        options = ["-q", "-n", workers, "-p", "tests.conftest", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--basetemp={folder}/base", folder],
            capture_output=True,
            text=True,
            check=False,
            cwd=places.CHECKOUT,
        )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert ("in-process.log: the canary" in done.stdout) == bool(exit_code)
