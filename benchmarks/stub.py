"""A folder -> an nginx that answers like a slurmrestd which costs nothing.

300 bytes of JSON for a ping or an upload (whose body it reads to the end), 100 KB for the list of
nodes, 200 MB for the list of jobs, over kept connections: what is left to measure is the way there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.identity import write_secret
from benchmarks.processes import running
from benchmarks.scene import Backend
from benchmarks.variants.nginx import nginx_command
from lab.ports import free_port

SMALL_BYTES = 300
MEDIUM_BYTES = 100_000
LARGE_BYTES = 200_000_000
SMALL_TARGET = "/slurm/v0.0.38/ping"
MEDIUM_TARGET = "/slurm/v0.0.38/nodes"
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
        location = {medium} {{ alias {medium_file}; }}
        location = {large} {{ alias {large_file}; }}
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
    medium_file, large_file = folder / "medium.json", folder / "large.json"
    _write_answer(medium_file, MEDIUM_BYTES, 150)
    _write_answer(large_file, LARGE_BYTES, 15_000)
    key_file = folder / "jwt_hs256.key"
    write_secret(key_file, os.urandom(32))
    inside = SERVER.format(
        port=port,
        small=SMALL_TARGET,
        answer=_small_answer(),
        diag=DIAG_TARGET,
        refusal=REFUSAL,
        medium=MEDIUM_TARGET,
        medium_file=medium_file,
        large=LARGE_TARGET,
        large_file=large_file,
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
            medium_target=MEDIUM_TARGET,
        )


def _small_answer() -> str:
    head, tail = '{"pings":[{"hostname":"node1","ping":"UP"}],"filler":"', '","errors":[]}'
    return head + "x" * (SMALL_BYTES - len(head) - len(tail)) + tail


def _write_answer(path: Path, size: int, jobs_a_write: int) -> None:
    block = b'{"job_id": 123456, "user_name": "alice", "job_state": "RUNNING"},\n' * jobs_a_write
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.write(b" " * (size - file.tell()))
