"""The name of a fuzz target -> its function, and inputs to begin with, made of the corpora of attacks."""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.audit_writer import Writer, request
from tests.fuzz.answered import answer, answer_body, audit_line
from tests.fuzz.asked import body_rule, header, mapping, target, token
from tests.security.hostile_upstream import ANSWERS, filled
from tests.tokens import ISSUERS, base_claims, base_header, good_token

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = MappingProxyType(
    {
        "target": target,
        "header": header,
        "token": token,
        "mapping": mapping,
        "body-rule": body_rule,
        "audit-line": audit_line,
        "answer": answer,
        "answer-body": answer_body,
    }
)
_CORPUS = Path(__file__).parents[1] / "security" / "corpus"
_LONGEST_SEED = 4096


def seeds(name: str) -> list[bytes]:
    """What the fuzzer begins with besides what was kept."""
    found = {"target": _targets, "header": _headers, "token": _tokens, "mapping": _mappings}
    found |= {"body-rule": _bodies, "audit-line": _lines, "answer": _answers}
    found |= {"answer-body": _answer_bodies}
    return [seed for seed in found[name]() if len(seed) <= _LONGEST_SEED]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_CORPUS / f"{name}.toml").read_text("utf-8"))


def _targets() -> Iterator[bytes]:
    for rows in _read("targets").values():
        yield from (row["raw"].encode("latin-1") for row in rows if "raw" in row)
    yield b"/slurm/v0.0.42/job/7?flags=NONE"
    yield b"/slurmdb/v0.0.42/jobs/?users=a%2Cb&start_time=0"
    yield b"/slurm/v0.0.42/nodes/?update_time=12"
    yield b"/slurm/v0.0.42/jobs?gateway.user=alice&gateway.state=RUNNING&gateway.fields=job_id,time.start"
    yield b"/slurmdb/v0.0.42/jobs?gateway.limit=5&gateway.cursor=NTo3&users=alice"


def _headers() -> Iterator[bytes]:
    for name in ("raw_requests", "smuggling"):
        for row in _read(name)["request"]:
            yield b"\x80" + row["raw"].encode("latin-1")


def _tokens() -> Iterator[bytes]:
    yield b"\0" + good_token().encode()
    for issuer in ("oidc", "rfc9068", "cognito"):
        head = {**base_header(issuer), "alg": "EdDSA"}
        yield b"\1" + json.dumps(head).encode() + b"\0" + json.dumps(base_claims(issuer)).encode()
    yield (
        b"\1"
        + b'{"alg":"EdDSA","kid":"k1","crit":["b64"]}\0{"iss":"%b"}' % ISSUERS["oidc"].encode()
    )


def _mappings() -> Iterator[bytes]:
    yield b'\0[[user]]\nissuer = "https://idp.example.org"\nsubject = "s"\nuser = "alice"\n'
    yield b'\0[[user]]\nissuer = "https://idp.example.org"\nclaim = "n"\nvalue = 7\nuser = "bob"\n'
    yield b'\1\nexample.org\nl\n"Alice@Example.org"'
    yield b'\1(?P<user>[a-z]+)-x\n\n\n"alice-x"'
    yield b'\1(x+x+)+y\n\nm\n["alice"]'


def _bodies() -> Iterator[bytes]:
    rows = _read("bodies")
    for row in (*rows["refused"], *rows["admitted"]):
        if "body" in row:
            yield b"\0" + str(row["body"]).encode()
            yield b"\x05" + str(row["body"]).encode()


def _lines() -> Iterator[bytes]:
    writer = Writer(key_every=2, head_every=3)
    for number in range(4):
        writer.write(**request(f"r{number}"))
    yield from writer.lines
    yield writer.lines[0][:-1] + writer.lines[1]
    yield b"\0\0" + writer.lines[0]


def _answers() -> Iterator[bytes]:
    for row in ANSWERS:
        yield b"\x80" + filled(row["sent"], "a", 1) + filled(row.get("later", ""), "a", 1)
    for row in _read("upstream_answers")["answers"]:
        yield b"\x40" + str(row["sent"]).encode("latin-1")


def _answer_bodies() -> Iterator[bytes]:
    yield b'\3{"jobs":[{"user_name":"alice","job_id":7},{"user_name":"bob"}],"errors":[]}'
    yield b'\3{"meta":{},"errors":[{"error_number":-1,"error_code":9}],"result":{"job_id":3}}'
    yield b'\3{"jobs":[{"comment":"idempotency:abc","user_name":"alice","job_id":{"set":true,"number":9}}]}'
    yield b"\3errors:\n- error_number: 5\njob_id: 7\n"
    yield b'\3{"j\\u006fbs":[{"association":{"user":"alice"}}],"status":[{"error":{"code":1}}]}'
