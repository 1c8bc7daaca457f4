"""NSS is asked once, within a time, and a service that is down is not a user that does not exist."""

import asyncio
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.edges.directory import NssDirectory, NssIds
from gateway.edges.few_threads import FewThreads
from gateway.edges.nss import ask_passwd
from gateway.stages.credential import CredentialDoubt
from gateway.stages.map_user import DirectoryDoubt
from gateway.users.accounts import Account
from tests.fake_users import ALICE
from tests.fakes import FakeClock

ROOT = Path(__file__).parents[3]


class Nss:
    """Answers that a test scripts, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Account | Exception | None = ALICE
        self.release = threading.Event()
        self.release.set()

    def ask(self, name: str) -> Account | None:
        self.asked.append(name)
        self.release.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def make(nss: Nss, clock: FakeClock, *, limit_seconds: float = 5, threads: int = 2) -> NssDirectory:
    return NssDirectory(
        FewThreads(threads),
        limit_seconds=limit_seconds,
        cache_seconds=60,
        ask=nss.ask,
        monotonic=clock,
    )


async def test_an_answer_is_remembered_for_its_time_and_then_asked_for_again() -> None:
    nss, clock = Nss(), FakeClock(1000)
    directory = make(nss, clock)
    for _ in range(3):
        assert await directory.lookup("alice") == (ALICE, 1060)
    clock.advance(59.9)
    await directory.lookup("alice")
    assert len(nss.asked) == 1
    clock.advance(0.1)
    nss.answer = None
    assert await directory.lookup("alice") == (None, 1120)
    assert await directory.lookup("alice") == (None, 1120)
    assert len(nss.asked) == 2


async def test_a_hundred_callers_ask_once() -> None:
    nss = Nss()
    directory = make(nss, FakeClock())
    await asyncio.gather(*(directory.lookup("alice") for _ in range(100)))
    assert nss.asked == ["alice"]


async def test_a_hanging_nss_is_a_doubt_in_time_for_everybody_and_recovers() -> None:
    nss = Nss()
    nss.release.clear()
    directory = make(nss, FakeClock(), limit_seconds=0.05)
    names = [f"user{number}" for number in range(20)]
    outcomes = await asyncio.gather(*map(directory.lookup, names), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {DirectoryDoubt}
    assert len(nss.asked) == 2
    assert directory.state() == "NSS did not answer within 0.05 s"
    nss.release.set()
    await asyncio.sleep(0.05)
    assert (await directory.lookup("alice")).account == ALICE
    assert directory.state() == ""


async def test_an_error_of_nss_is_a_doubt_that_is_not_remembered() -> None:
    nss = Nss()
    nss.answer = ConnectionRefusedError(111, "Connection refused")
    directory = make(nss, FakeClock())
    with pytest.raises(DirectoryDoubt, match="NSS cannot answer: Connection refused"):
        await directory.lookup("alice")
    nss.answer = ALICE
    assert (await directory.lookup("alice")).account == ALICE


async def test_the_memory_is_bounded() -> None:
    nss = Nss()
    directory = NssDirectory(
        FewThreads(1), limit_seconds=5, cache_seconds=60, ask=nss.ask, maximum_cached=3
    )
    for name in ("a", "b", "c", "d", "b", "a"):
        await directory.lookup(name)
    assert nss.asked == ["a", "b", "c", "d", "a"]


async def test_groups_that_cannot_be_had_are_a_doubt_and_never_fewer_groups() -> None:
    def down(name: str, gid: int) -> tuple[int, ...]:
        raise OSError(5, "Input/output error")

    directory = make(Nss(), FakeClock())
    ids = NssIds(directory, FewThreads(1), limit_seconds=5, ask=down)
    with pytest.raises(CredentialDoubt, match="the ids of alice cannot be had"):
        await ids("alice")


@pytest.mark.parametrize("name", ["", "\0", "root\0x", "ro ot", "é", "a" * 10_000])
def test_an_odd_name_is_nobody_or_an_error_and_never_somebody(name: str) -> None:
    with suppress(OSError, ValueError):
        assert ask_passwd(name) is None


BROKEN_NSS = """
set -e
mount --make-rprivate /
sed 's/^passwd:.*/passwd: files hesiod/' /etc/nsswitch.conf > "$1"
mount --bind "$1" /etc/nsswitch.conf
cd "$2"
exec "$3" -c '
import asyncio
from gateway.edges.directory import NssDirectory
from gateway.edges.few_threads import FewThreads
from gateway.stages.map_user import DirectoryDoubt

async def main():
    directory = NssDirectory(FewThreads(1), limit_seconds=5, cache_seconds=60)
    print((await directory.lookup("root")).account.uid)
    try:
        print(await directory.lookup("nosuchuser"))
    except DirectoryDoubt as doubt:
        print(doubt)

asyncio.run(main())
'
"""


def test_a_real_name_service_that_is_down_is_a_doubt(tmp_path: Path) -> None:
    """glibc's hesiod service, without its server, in a mount namespace of our own.

    pwd.getpwnam would say KeyError here, as for a user that does not exist.
    """
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        pytest.skip("needs root and unshare, for a mount namespace")
    script = [unshare, "-m", "sh", "-c", BROKEN_NSS, "sh", str(tmp_path / "nsswitch.conf")]
    done = subprocess.run(
        [*script, str(ROOT), sys.executable], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["0", "NSS cannot answer: No such file or directory"]
