"""What every Directory and every DescribeUser keeps: run on the fakes and on the real NSS."""

import pwd
import time

import pytest

from gateway.edges.directory import NssDirectory, NssIds
from gateway.edges.few_threads import FewThreads
from gateway.stages.credential import CredentialDoubt, DescribeUser
from gateway.stages.map_user import Directory
from gateway.users.accounts import Account
from tests.fake_users import FakeDirectory, FakeIds

NOBODY_HAS_THIS_NAME = "no-such-user-here"


def real_account(name: str) -> Account:
    entry = pwd.getpwnam(name)
    return Account(
        entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_gecos, entry.pw_dir, entry.pw_shell
    )


def nss() -> NssDirectory:
    return NssDirectory(FewThreads(2), limit_seconds=5, cache_seconds=60)


@pytest.fixture(params=["fake", "nss"])
def directory(request: pytest.FixtureRequest) -> Directory:
    return FakeDirectory(real_account("root")) if request.param == "fake" else nss()


@pytest.fixture(params=["fake", "nss"])
def describe(request: pytest.FixtureRequest) -> DescribeUser:
    if request.param == "fake":
        return FakeIds(real_account("root"))
    return NssIds(nss(), FewThreads(2), limit_seconds=5)


async def test_an_account_is_found_as_it_is(directory: Directory) -> None:
    lookup = await directory.lookup("root")
    assert lookup.account == real_account("root")
    assert lookup.valid_until > time.monotonic()


async def test_an_unknown_user_is_an_answer_and_not_a_doubt(directory: Directory) -> None:
    lookup = await directory.lookup(NOBODY_HAS_THIS_NAME)
    assert lookup.account is None
    assert lookup.valid_until > time.monotonic()


@pytest.mark.parametrize("name", ["Root", "ROOT", "root ", "0", ""])
async def test_a_name_is_asked_for_as_it_is(directory: Directory, name: str) -> None:
    assert (await directory.lookup(name)).account is None


async def test_the_ids_are_the_accounts_and_its_own_group_comes_first(
    describe: DescribeUser,
) -> None:
    ids = await describe("root")
    assert ids.account == real_account("root")
    assert ids.gids[0] == ids.account.gid
    assert len(set(ids.gids)) == len(ids.gids)


async def test_an_unknown_user_has_no_ids(describe: DescribeUser) -> None:
    with pytest.raises(CredentialDoubt, match=NOBODY_HAS_THIS_NAME):
        await describe(NOBODY_HAS_THIS_NAME)
