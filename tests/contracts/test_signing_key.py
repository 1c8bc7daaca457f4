"""What every SigningKey keeps: run on the fake and on the real one."""

import os
from pathlib import Path

import pytest

from gateway.edges.few_threads import FewThreads
from gateway.edges.signing_key import SigningKeyFile
from gateway.slurm_token import SlurmKey
from gateway.stages.credential import CredentialDoubt, SigningKey
from tests.fake_users import KEY_BYTES, FakeSigningKey

CLAIMS = {"sun": "alice", "exp": 1_800_000_000}


def key_file(path: Path) -> SigningKeyFile:
    return SigningKeyFile(
        path,
        FewThreads(1),
        group_readable=False,
        credentials_directory=None,
        own_uid=os.geteuid(),
    )


@pytest.fixture(params=["fake", "file"])
def good(request: pytest.FixtureRequest, tmp_path: Path) -> SigningKey:
    if request.param == "fake":
        return FakeSigningKey()
    path = tmp_path / "key"
    path.write_bytes(KEY_BYTES)
    path.chmod(0o400)
    return key_file(path)


@pytest.fixture(params=["fake", "file"])
def missing(request: pytest.FixtureRequest, tmp_path: Path) -> SigningKey:
    if request.param == "file":
        return key_file(tmp_path / "key")
    fake = FakeSigningKey()
    fake.key = None
    return fake


async def test_the_key_signs_with_the_stored_bytes(good: SigningKey) -> None:
    assert (await good()).sign(CLAIMS).reveal == SlurmKey(KEY_BYTES).sign(CLAIMS).reveal


async def test_the_same_key_is_the_same_object(good: SigningKey) -> None:
    assert await good() is await good()


async def test_a_missing_key_is_a_doubt_that_names_the_file(missing: SigningKey) -> None:
    for _ in range(2):
        with pytest.raises(CredentialDoubt, match=r"/.*key cannot be read"):
            await missing()
