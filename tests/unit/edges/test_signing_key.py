"""The key file serves nobody but the gateway, says what to type, and stops the minting when it turns bad."""

import os
import re
import socket
from pathlib import Path

import pytest

from gateway.edges.few_threads import FewThreads
from gateway.edges.secret_file import CHECK_SECONDS
from gateway.edges.signing_key import SigningKeyFile, describe_exposure
from gateway.slurm_token import SlurmKey
from gateway.stages.credential import CredentialDoubt
from tests.fakes import FakeClock

OWN = os.geteuid()
OLD, NEW = b"o" * 32, b"canary-of-the-key" * 2
CLAIMS = {"sun": "alice", "exp": 1_800_000_000}


def write(path: Path, content: bytes = OLD, mode: int = 0o400) -> Path:
    """Put the file into place as a careful admin does, so that no half of it is ever seen."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.rename(path)
    return path


def key_file(
    path: Path,
    clock: FakeClock | None = None,
    *,
    group_readable: bool = False,
    credentials: Path | None = None,
) -> SigningKeyFile:
    return SigningKeyFile(
        path,
        FewThreads(1),
        group_readable=group_readable,
        credentials_directory=credentials,
        own_uid=OWN,
        monotonic=clock or FakeClock(),
    )


def is_key(key: SlurmKey, stored: bytes) -> bool:
    return key.sign(CLAIMS).reveal == SlurmKey(stored).sign(CLAIMS).reveal


@pytest.mark.parametrize(
    ("mode", "group_readable", "good"),
    [
        (0o400, False, True),
        (0o600, False, True),
        (0o440, False, False),
        (0o640, False, False),
        (0o440, True, True),
        (0o640, True, True),
        (0o400, True, True),
        (0o644, True, False),
        (0o444, True, False),
        (0o660, True, False),
        (0o604, False, False),
        (0o602, False, False),
        (0o700, False, False),
        (0o4400, False, False),
        (0o777, True, False),
    ],
)
async def test_only_the_modes_that_keep_a_secret_are_taken(
    tmp_path: Path, mode: int, group_readable: bool, good: bool
) -> None:
    key = key_file(write(tmp_path / "key", mode=mode), group_readable=group_readable)
    if good:
        assert is_key(await key(), OLD)
        return
    with pytest.raises(CredentialDoubt, match=f"mode {mode:04o}.*: chmod 0400 {tmp_path}/key"):
        await key()


async def test_a_group_readable_key_says_which_setting_would_take_it(tmp_path: Path) -> None:
    with pytest.raises(CredentialDoubt, match=r"credential\.group_readable_key = true"):
        await key_file(write(tmp_path / "key", mode=0o640))()


@pytest.mark.parametrize(
    ("owner", "own", "words"),
    [
        (1001, 1001, ""),
        (0, 1001, ""),
        (64030, 1001, "belongs to uid 64030.*: chown 1001 '/a b/key'"),
        (1002, 0, "belongs to uid 1002.*: chown 0 '/a b/key'"),
    ],
)
def test_the_key_belongs_to_the_gateway_or_to_root(owner: int, own: int, words: str) -> None:
    status = os.stat_result((0o100400, 1, 1, 1, owner, 0, 32, 0, 0, 0))
    told = describe_exposure(Path("/a b/key"), status, frozenset({0o400}), own)
    assert re.fullmatch(words, told)


async def test_any_mode_is_taken_where_systemd_put_it_for_this_service_alone(
    tmp_path: Path,
) -> None:
    credentials, elsewhere = tmp_path / "credentials", tmp_path / "elsewhere"
    credentials.mkdir()
    elsewhere.mkdir()
    inside = write(credentials / "key", mode=0o444)
    outside = write(elsewhere / "key", mode=0o444)
    (credentials / "link").symlink_to(outside)
    assert is_key(await key_file(inside, credentials=credentials)(), OLD)
    for exposed in (outside, credentials / "link", credentials / ".." / "elsewhere" / "key"):
        with pytest.raises(CredentialDoubt, match="mode 0444"):
            await key_file(exposed, credentials=credentials)()


async def test_a_link_is_followed_and_its_target_judged(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "key"))
    assert is_key(await key_file(tmp_path / "link")(), OLD)
    write(tmp_path / "key", mode=0o644)
    with pytest.raises(CredentialDoubt, match="mode 0644"):
        await key_file(tmp_path / "link")()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not Slurm's key: it is empty"),
        (b"x" * 31, "it has 31 bytes"),
        (b"x" * 70_000, "is larger than 65536 bytes"),
        (b"-----BEGIN PUBLIC KEY-----" + b"x" * 99, "public key"),
    ],
)
async def test_a_file_that_is_no_key_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(CredentialDoubt, match=words):
        await key_file(write(tmp_path / "key", content))()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fifo", "is not a regular file"),
        ("directory", "cannot be read: Is a directory"),
        ("loop", "cannot be read: Too many levels"),
        ("socket", "cannot be read: No such device"),
        ("absent", "cannot be read: No such file"),
    ],
)
async def test_what_is_no_file_is_refused_and_hangs_nobody(
    tmp_path: Path, name: str, words: str
) -> None:
    os.mkfifo(tmp_path / "fifo", 0o400)
    (tmp_path / "directory").mkdir(0o400)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(CredentialDoubt, match=f"{name} {words}"):
            await key_file(tmp_path / name)()


async def test_the_same_key_written_again_is_the_same_object(tmp_path: Path) -> None:
    clock = FakeClock()
    key = key_file(write(tmp_path / "key"), clock)
    first = await key()
    write(tmp_path / "key")
    clock.advance(CHECK_SECONDS)
    assert await key() is first


async def test_a_new_key_is_used_within_a_second_and_not_looked_for_more_often(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    key = key_file(write(tmp_path / "key"), clock)
    assert is_key(await key(), OLD)
    write(tmp_path / "key", NEW)
    clock.advance(CHECK_SECONDS / 2)
    assert is_key(await key(), OLD)
    clock.advance(CHECK_SECONDS / 2)
    assert is_key(await key(), NEW)


async def test_a_key_rewritten_in_place_with_the_same_size_and_time_is_noticed(
    tmp_path: Path,
) -> None:
    clock, path = FakeClock(), write(tmp_path / "key", mode=0o600)
    key = key_file(path, clock)
    await key()
    before = path.stat()
    path.write_bytes(b"p" * 32)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.advance(CHECK_SECONDS)
    assert is_key(await key(), b"p" * 32)


async def test_a_young_file_is_read_again_and_an_old_one_only_when_it_changes(
    tmp_path: Path,
) -> None:
    """Two writes within one tick of the file system's clock leave the same times behind."""
    clock, path = FakeClock(), write(tmp_path / "key")
    key = key_file(path, clock)
    await key()
    seen = key._file._seen
    assert seen is not None
    assert seen.signature is None
    os.utime(path, (1_000_000_000, 1_000_000_000))
    clock.advance(CHECK_SECONDS)
    await key()
    old = key._file._seen
    assert old is not None
    assert old.signature is not None
    clock.advance(CHECK_SECONDS)
    await key()
    assert key._file._seen is old


@pytest.mark.parametrize("how", ["removed", "opened", "emptied"])
async def test_a_key_that_turns_bad_stops_the_minting_and_says_so_until_it_is_good_again(
    tmp_path: Path, how: str
) -> None:
    clock, path = FakeClock(), write(tmp_path / "key", mode=0o600)
    key = key_file(path, clock)
    await key()
    assert key.state() == ""
    match how:
        case "removed":
            path.unlink()
        case "opened":
            path.chmod(0o644)
        case _:
            path.write_bytes(b"")
    clock.advance(CHECK_SECONDS)
    with pytest.raises(CredentialDoubt):
        await key()
    assert str(path) in key.state()
    write(path)
    clock.advance(CHECK_SECONDS)
    assert is_key(await key(), OLD)
    assert key.state() == ""


async def test_no_word_about_a_key_quotes_it(tmp_path: Path) -> None:
    for mode in (0o644, 0o400):
        path = write(tmp_path / "key", b"canary", mode=mode)
        with pytest.raises(CredentialDoubt) as caught:
            await key_file(path)()
        assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
