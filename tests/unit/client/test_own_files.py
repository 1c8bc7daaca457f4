"""What the client keeps is its user's alone, belongs to one gateway, and is gone after a logout."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keyring
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.client.access import KeptToken
from gateway.client.files import read_private, write_private
from gateway.client.profiles import Profile, Profiles
from gateway.client.token_store import FileStore, KeyringStore, Tokens
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, scripted_gateway
from tests.unit.client.test_tokens import MemoryKeyring

OLD, NEW = Tokens("old", "old-refresh", 1.0), Tokens("new", "new-refresh", 0.0)


@pytest.fixture
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        servers = {"authorization_servers": ["https://idp.example.org"]}
        made.tell(
            "GET /.well-known/oauth-protected-resource",
            Told(200, {"resource": made.url, **servers}),
        )
        yield made


def typed(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"SLURM_GATEWAY_HOME": str(home)})


@contextmanager
def remembered_by(backend: MemoryKeyring) -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield
    finally:
        keyring.set_keyring(before)


def test_every_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    """Whoever may write into one of them could put a profile of theirs there, and be sent the tokens."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "a" / "b" / "c" / "tokens.json", {})
    finally:
        os.umask(before)
    for folder in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_file_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    write_private(file, {"url": "https://mallory.example.org"})
    assert read_private(file)
    with pytest.raises(Trouble, match="belongs to somebody else") as raised:
        read_private(file, me=os.geteuid() + 1)
    assert raised.value.code is Exit.LOCAL_FILE


def test_a_profile_stays_with_its_gateway(tmp_path: Path, scripted: ScriptedGateway) -> None:
    """Or a process that still asks the first one would send it the other one's token."""
    token = tmp_path / "token"
    token.write_text("x")
    home = tmp_path / "home"
    named = ("--profile", "one", "--token-file", str(token))
    assert typed(home, "login", scripted.url, *named).exit_code == 0
    with scripted_gateway() as other:
        refused = typed(home, "login", other.url, *named)
        assert refused.exit_code == Exit.WRONG_CALL
        assert "belongs to" in refused.output
        assert other.heard == []
    kept = Profiles(home).require("one")
    assert kept.url == scripted.url
    assert typed(home, "login", scripted.url, *named).exit_code == 0


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "..", ".hidden", "\u00fc", "-\n"])
def test_a_name_that_is_no_folders_writes_nowhere(
    tmp_path: Path, scripted: ScriptedGateway, name: str
) -> None:
    home, token = tmp_path / "home" / "deep", tmp_path / "token"
    token.write_text("x")
    done = typed(home, "login", scripted.url, f"--profile={name}", "--token-file", str(token))
    assert done.exit_code == Exit.WRONG_CALL
    assert "cannot be a profile's name" in done.output
    assert list(tmp_path.iterdir()) == [token]


def test_what_another_process_renews_meanwhile_does_not_outlive_a_logout(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    profiles.keep(Profile("one", "https://slurm.example.org", "device"))
    folder = profiles.folder_of("one")
    store = FileStore(folder / "tokens.json")
    store.write(OLD)
    asked, answer = threading.Event(), threading.Event()

    def renew(_: Tokens) -> Tokens:
        asked.set()
        answer.wait(20)
        return NEW

    renewing = threading.Thread(target=KeptToken(store, folder / "lock", renew))
    leaving = threading.Thread(target=typed, args=(tmp_path, "logout"))
    renewing.start()
    assert asked.wait(20)
    leaving.start()
    leaving.join(0.5)
    answer.set()
    renewing.join(20)
    leaving.join(20)
    assert not folder.exists()


def test_another_sign_in_leaves_no_token_behind_in_the_keyring(
    tmp_path: Path, scripted: ScriptedGateway
) -> None:
    with remembered_by(MemoryKeyring()):
        KeyringStore("one").write(OLD)
        Profiles(tmp_path).keep(Profile("one", scripted.url, "device", store="keyring"))
        token = tmp_path / "token"
        token.write_text("x")
        arguments = ("login", scripted.url, "--profile", "one", "--token-file", str(token))
        assert typed(tmp_path, *arguments).exit_code == 0
        assert KeyringStore("one").read() is None


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_damaged_entry_of_the_keyring_is_a_sentence(text: str) -> None:
    backend = MemoryKeyring()
    with remembered_by(backend):
        backend.set_password("slurm-gateway", "one", text)
        with pytest.raises(Trouble, match="damaged"):
            KeyringStore("one").read()
