"""Everything that a run of the tests wrote -> the secrets in it that should be nowhere.

Each job script and each cookie of the tests carries `CANARY`; tokens and private keys are told by their form, and
the keys of a gateway by the key files that lie beside what it wrote. Everything below pytest's folder of
temporary files is searched: logs with their stack traces, audit files and what was rotated and compressed,
state directories, spools, metrics, and the answers that the gateways made themselves.
"""

import base64
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from lab.submission import CANARY

_LEAST_KEY_BYTES = 16
_MOST_UNPACKED_BYTES = 64 << 20

EXCEPTIONS: tuple[tuple[str, str], ...] = (
    ("*.key", "a key file: where the key belongs"),
    ("pem", "a key file of Slurm as old pages have it made: where the key belongs"),
    ("token", "a token that a test hands over by `--token-file` or `[credential] token_file`"),
    ("alice.header", "the token of the demo's curl lines, in a file of mode 0600 (test_demo.py)"),
    ("tokens.json", "the client's own tokens, in a file of mode 0600 (test_client_sign_in.py)"),
    (
        "job.json",
        "the job that the demo's curl lines submit, and one in a folder of jobs (test_run_folder.py)",
    ),
)
"""(name of a file, why it may hold a secret)."""


class Leak(NamedTuple):
    """Where a secret stands that should not."""

    path: Path
    what: str


def forms(secret: bytes) -> list[bytes]:
    """The secret as it is, in hexadecimal, percent-encoded, and in base64 wherever in a text it begins."""
    plain = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    plain.add(quote_from_bytes(secret, safe="").encode())
    plain.add("".join(f"%{byte:02X}" for byte in secret).encode())
    for shift in range(3):
        # The first and the last characters depend on what stands before and behind.
        coded = base64.b64encode(bytes(shift) + secret).rstrip(b"=")
        first = (shift * 8 + 5) // 6
        whole = (shift + len(secret)) * 8 // 6
        plain.update({coded[first:whole], coded[first:whole].translate(_URL_SAFE)})
    return sorted(plain)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("a token", re.compile(rb"eyJ[\w-]{10,}\.(?:eyJ)?[\w-]{10,}\.[\w-]{20,}")),
    ("a token in base64", re.compile(rb"(?:ZXlK|QmVhcmVyIGV5S)[\w+/-]{60,}")),
    ("a private key", re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
)
_CANARY = forms(CANARY.encode())


def search(folder: Path) -> list[Leak]:
    """Every secret below the folder that no exception covers."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    keys = defaultdict(list)
    for place, name, key in _keys(files):
        keys[place].append((name, key))
    leaks = []
    for path in files:
        if not _is_exempt(path):
            own = [one for place in path.parents if place in keys for one in keys[place]]
            leaks += [Leak(path, what) for what in _in_file(path, own)]
    return leaks


def _is_exempt(path: Path) -> bool:
    return any(fnmatch(path.name, pattern) for pattern, _ in EXCEPTIONS)


def _keys(files: Iterable[Path]) -> Iterator[tuple[Path, str, list[bytes]]]:
    """(folder below which it must not be, name, what to look for) of every key file.

    A state directory's keys must not be in the folder around it either, where logs and audit are.
    """
    for path in files:
        if not path.name.endswith(".key"):
            continue
        content = path.read_bytes()
        with suppress(ValueError, TypeError, KeyError):
            content = bytes.fromhex(json.loads(content)["key"])
        if len(content) >= _LEAST_KEY_BYTES and b"PRIVATE KEY" not in content:
            place = path.parent.parent if path.parent.name == "state" else path.parent
            yield place, path.name, forms(content)


def _in_file(path: Path, keys: list[tuple[str, list[bytes]]]) -> Iterator[str]:
    try:
        content = _content(path)
    except FileNotFoundError:
        return
    yield from (what for what, pattern in _PATTERNS if pattern.search(content))
    # Searched for one by one: many times faster than one expression of them all (measured).
    if any(form in content for form in _CANARY):
        yield "the canary"
    for name, key in keys:
        if any(form in content for form in key):
            yield f"the key of {name}"


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return zlib.decompressobj(wbits=31).decompress(content, _MOST_UNPACKED_BYTES)
    except zlib.error:  # a test has broken it
        return content
