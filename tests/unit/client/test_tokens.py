"""Tokens are kept where nobody else reads them, and renewed once however many processes want that."""

import json
import multiprocessing
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import PasswordSetError

from gateway.client.access import FileToken, KeptToken, environment_token
from gateway.client.token_store import FileStore, KeyringStore, Tokens, keep_first
from gateway.client.trouble import Exit, Trouble

NOW = 1_000_000.0
OLD = Tokens("old-access", "old-refresh", NOW + 10)
NEW = Tokens("new-access", "new-refresh", NOW + 900)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "profile" / "tokens.json")


def kept(
    store: FileStore, tmp_path: Path, renewed: list[str], answer: Tokens | Trouble
) -> KeptToken:
    def renew(tokens: Tokens) -> Tokens:
        renewed.append(tokens.refresh_token)
        if isinstance(answer, Trouble):
            raise answer
        return answer

    return KeptToken(store, tmp_path / "lock", renew, lambda: NOW)


def test_a_token_that_lasts_is_used_as_it_is(store: FileStore, tmp_path: Path) -> None:
    store.write(NEW)
    renewed: list[str] = []
    assert kept(store, tmp_path, renewed, NEW)() == "new-access"
    assert renewed == []


def test_a_token_that_ends_soon_is_renewed_before_it_is_used(
    store: FileStore, tmp_path: Path
) -> None:
    store.write(OLD)
    renewed: list[str] = []
    assert kept(store, tmp_path, renewed, NEW)() == "new-access"
    assert renewed == ["old-refresh"]
    assert store.read() == NEW


def test_a_token_that_the_gateway_refused_is_renewed_also_if_it_should_last(
    store: FileStore, tmp_path: Path
) -> None:
    store.write(Tokens("refused", "old-refresh", NOW + 900))
    renewed: list[str] = []
    assert kept(store, tmp_path, renewed, NEW)(refused="refused") == "new-access"


def test_a_token_that_another_process_renewed_meanwhile_is_taken(
    store: FileStore, tmp_path: Path
) -> None:
    store.write(NEW)
    renewed: list[str] = []
    assert kept(store, tmp_path, renewed, OLD)(refused="old-access") == "new-access"
    assert renewed == []


def test_while_the_provider_is_away_a_token_is_used_to_its_end(
    store: FileStore, tmp_path: Path
) -> None:
    store.write(OLD)
    away = Trouble(Exit.UNAVAILABLE, "The provider cannot be reached.")
    assert kept(store, tmp_path, [], away)() == "old-access"
    store.write(Tokens("ended", "r", NOW - 1))
    with pytest.raises(Trouble, match="cannot be reached"):
        kept(store, tmp_path, [], away)()


def test_a_sign_in_that_is_over_says_so(store: FileStore, tmp_path: Path) -> None:
    store.write(OLD)
    over = Trouble(Exit.NOT_PERMITTED, "Your sign-in is over.", problem="invalid_grant")
    with pytest.raises(Trouble, match="is over"):
        kept(store, tmp_path, [], over)()
    assert store.read() == OLD


def test_where_nothing_can_be_written_no_refresh_token_is_used_up(
    store: FileStore, tmp_path: Path
) -> None:
    """It works once: its successor would be lost."""

    class Full(FileStore):
        def write(self, tokens: Tokens) -> None:
            raise Trouble(Exit.LOCAL_FILE, "No space left on device.")

    file = tmp_path / "profile" / "tokens.json"
    renewed: list[str] = []
    store.write(OLD)
    assert kept(Full(file), tmp_path, renewed, NEW)() == "old-access"
    store.write(Tokens("ended", "r", NOW - 1))
    with pytest.raises(Trouble, match="No space"):
        kept(Full(file), tmp_path, renewed, NEW)()
    assert renewed == []


def _use(folder: Path, count: Path) -> None:
    def renew(tokens: Tokens) -> Tokens:
        time.sleep(0.2)
        with count.open("a") as file:
            file.write(f"{tokens.refresh_token}\n")
        return Tokens("new-access", "new-refresh", time.time() + 900)

    assert KeptToken(FileStore(folder / "tokens.json"), folder / "lock", renew)() == "new-access"


def test_many_processes_at_once_renew_once(tmp_path: Path) -> None:
    FileStore(tmp_path / "tokens.json").write(Tokens("old", "old-refresh", 1.0))
    count = tmp_path / "count"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_use, args=(tmp_path, count)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 8
    assert count.read_text() == "old-refresh\n"


def test_a_file_of_tokens_is_its_owners_alone(store: FileStore, tmp_path: Path) -> None:
    store.write(NEW)
    file = tmp_path / "profile" / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    store.clear()
    assert store.read() is None


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "\x00"])
def test_a_damaged_file_is_a_sentence_with_its_name(
    store: FileStore, tmp_path: Path, text: str
) -> None:
    store.write(NEW)
    (tmp_path / "profile" / "tokens.json").write_text(text)
    with pytest.raises(Trouble, match="damaged") as raised:
        store.read()
    assert "tokens.json" in raised.value.remedy


@pytest.mark.parametrize("content", [{}, {"access_token": 7}, {"access_token": ""}])
def test_a_file_without_a_token_is_no_sign_in(
    store: FileStore, tmp_path: Path, content: dict[str, object]
) -> None:
    store.write(NEW)
    (tmp_path / "profile" / "tokens.json").write_text(json.dumps(content))
    with pytest.raises(Trouble, match="not signed in") as raised:
        kept(store, tmp_path, [], NEW)()
    assert raised.value.code is Exit.NOT_PERMITTED


def test_no_repr_shows_a_token() -> None:
    assert "access" not in repr(NEW)


class MemoryKeyring(KeyringBackend):
    """A keyring of this process, by the interface of those that there are."""

    priority = 1.0

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # it has no types
        self.kept: dict[tuple[str, str], str] = {}
        self.most = most

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if len(password) > self.most:
            raise PasswordSetError("too long")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def no_keyring() -> Iterator[None]:
    """Of the machine that the tests run on, none is touched."""
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]  # it has no types
    yield
    keyring.set_keyring(before)


def test_tokens_go_to_the_keyring_where_there_is_one(tmp_path: Path) -> None:
    FileStore(tmp_path / "tokens.json").write(OLD)
    keyring.set_keyring(MemoryKeyring())
    assert keep_first("auto", "p", tmp_path, NEW) == "keyring"
    assert not (tmp_path / "tokens.json").exists()
    store = KeyringStore("p")
    assert store.read() == NEW
    assert KeyringStore("other").read() is None
    store.clear()
    store.clear()
    assert store.read() is None


def test_a_token_that_a_keyring_has_no_room_for_goes_to_a_file(tmp_path: Path) -> None:
    keyring.set_keyring(MemoryKeyring(most=10))
    assert keep_first("auto", "p", tmp_path, NEW) == "file"


def test_without_a_keyring_tokens_go_to_a_file(tmp_path: Path) -> None:
    assert keep_first("auto", "p", tmp_path, NEW) == "file"
    assert FileStore(tmp_path / "tokens.json").read() == NEW
    with pytest.raises(Trouble, match="keyring cannot be used") as raised:
        keep_first("keyring", "p", tmp_path, NEW)
    assert raised.value.code is Exit.LOCAL_FILE


def test_a_ci_jobs_token_comes_from_its_environment_and_a_file_is_read_each_time(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    assert environment_token({}) is None
    given = environment_token({"SLURM_GATEWAY_TOKEN": " given\n"})
    assert given is not None
    assert given() == "given"
    kept_fresh = environment_token({"SLURM_GATEWAY_TOKEN_FILE": str(file)})
    assert isinstance(kept_fresh, FileToken)
    assert kept_fresh() == "first"
    file.write_text("second")
    assert kept_fresh(refused="first") == "second"
    file.write_text("")
    with pytest.raises(Trouble, match="is empty"):
        kept_fresh()
    file.unlink()
    with pytest.raises(Trouble, match="cannot be read"):
        kept_fresh()
