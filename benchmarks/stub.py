"""A folder -> an nginx that answers like a slurmrestd which costs nothing.

300 bytes of JSON for a ping or an upload (whose body it reads to the end), 200 MB for the list of
jobs, over kept connections: what is left to measure is the way there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.identity import write_secret
from benchmarks.processes import free_port, running
from benchmarks.scene import Backend
from benchmarks.variants.nginx import nginx_command

SMALL_BYTES = 300
LARGE_BYTES = 200_000_000
SMALL_TARGET = "/slurm/v0.0.38/ping"
LARGE_TARGET = "/slurm/v0.0.38/jobs"
UPLOAD_TARGET = "/slurmdb/v0.0.38/qos"
"""Under no rules of roles, which would parse the body and take 16 MiB of it at the most."""
DIAG_TARGET = "/slurm/v0.0.38/diag"
REFUSAL = '{"errors":[{"error_number":1007,"error":"Protocol authentication error"}]}'

SERVER = """\
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location = {small} {{ return 200 '{answer}'; }}
        location = {diag} {{
            # As releases since 22.05 do: each request is checked, so that connections may be shared.
            if ($http_x_slurm_user_token !~ "^eyJ") {{ return 511 '{refusal}'; }}
            return 200 '{answer}';
        }}
        location = {large} {{ alias {file}; }}
        location = {upload} {{
            # A `return` here would answer before the body is there; a proxy reads all of it first.
            client_body_buffer_size 64m;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}{small};
        }}
    }}
"""


@contextmanager
def stub(folder: Path, slurm_user: str) -> Iterator[Backend]:
    """Run the stub; the minting key is random, because nothing behind it looks at a token."""
    port = free_port()
    file = folder / "large.json"
    _write_large_answer(file)
    key_file = folder / "jwt_hs256.key"
    write_secret(key_file, os.urandom(32))
    inside = SERVER.format(
        port=port,
        small=SMALL_TARGET,
        answer=_small_answer(),
        diag=DIAG_TARGET,
        refusal=REFUSAL,
        large=LARGE_TARGET,
        file=file,
        upload=UPLOAD_TARGET,
    )
    with running(nginx_command(folder, inside), port, folder / "stub.log"):
        yield Backend(
            name="stub",
            port=port,
            small_target=SMALL_TARGET,
            large_target=LARGE_TARGET,
            upload_target=UPLOAD_TARGET,
            slurm_user=slurm_user,
            slurm_token="unchecked",  # noqa: S106 - the stub looks at no token
            key_file=key_file,
        )


def _small_answer() -> str:
    head, tail = '{"pings":[{"hostname":"node1","ping":"UP"}],"filler":"', '","errors":[]}'
    return head + "x" * (SMALL_BYTES - len(head) - len(tail)) + tail


def _write_large_answer(path: Path) -> None:
    block = b'{"job_id": 123456, "user_name": "alice", "job_state": "RUNNING"},\n' * 15_000
    with path.open("wb") as file:
        for _ in range(LARGE_BYTES // len(block)):
            file.write(block)
        file.write(b" " * (LARGE_BYTES - file.tell()))
