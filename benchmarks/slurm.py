"""The lab's Slurm 22.05 -> a backend that the variants are put in front of."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import OctKey

from benchmarks.identity import LIFETIME_SECONDS
from benchmarks.scene import Backend

SMALL_TARGET = "/slurm/v0.0.38/ping"


def mint_slurm_token(key_file: Path, user: str) -> str:
    """Return an HS256 token as slurmctld reads it: `sun` is the user, `exp` is required."""
    now = int(time.time())
    claims = {"sun": user, "iat": now, "exp": now + LIFETIME_SECONDS}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(key_file.read_bytes()))


@contextmanager
def real_slurmrestd() -> Iterator[Backend]:
    key_file = Path("/var/tmp/lab-bench/st22/keys/jwt_hs256.key")
    yield Backend(
        name="slurmrestd",
        port=16820,
        small_target=SMALL_TARGET,
        large_target="",
        slurm_user="alice",
        slurm_token=mint_slurm_token(key_file, "alice"),
        key_file=key_file,
    )
