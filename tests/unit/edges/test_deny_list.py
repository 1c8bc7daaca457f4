"""What an entry names, what a list may not say, and when a new version counts."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edges.deny_list import DenyListInvalid, FileDenyList, read_entries
from gateway.edges.edited_file import FileUnusable
from tests.fakes import ISSUER, FakeClock, make_identity

OTHER = "https://other.example.org"
ISSUERS = frozenset({ISSUER, OTHER})
ALICE = make_identity(token_id="token-1", claims={"azp": "web", "origin_jti": "login-1"})


def entry(**members: str) -> str:
    return "[[deny]]\n" + "".join(f'{name} = "{value}"\n' for name, value in members.items())


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"issuer": ISSUER, "subject": "subject-of-alice"}, "subject"),
        ({"client_id": "cli"}, "client_id"),
        ({"client_id": "cli", "issuer": ISSUER}, "client_id"),
        ({"client_id": "web"}, "client_id"),
        ({"jti": "token-1"}, "jti"),
        ({"jti": "token-1", "issuer": ISSUER}, "jti"),
        ({"jti": "login-1"}, "jti"),
        ({"issuer": OTHER, "subject": "subject-of-alice"}, None),
        ({"issuer": ISSUER, "subject": "Subject-of-alice"}, None),
        ({"client_id": "cli", "issuer": OTHER}, None),
        ({"client_id": "subject-of-alice"}, None),
        ({"jti": "token-1", "issuer": OTHER}, None),
        ({"jti": "token"}, None),
    ],
    ids=str,
)
def test_an_entry_names_a_subject_a_client_or_a_token(
    members: dict[str, str], kind: str | None
) -> None:
    assert read_entries(entry(**members).encode(), ISSUERS).find(ALICE) == kind


@pytest.mark.parametrize("azp", [["web"], {"a": 1}, 7, None, ""])
def test_an_odd_claim_is_neither_found_nor_an_error(azp: object) -> None:
    entries = read_entries(entry(client_id="web").encode(), ISSUERS)
    assert entries.find(make_identity(claims={"azp": azp})) is None


def test_identities_without_client_and_token_id_are_not_found_by_them() -> None:
    entries = read_entries((entry(client_id="x") + entry(jti="y")).encode(), ISSUERS)
    assert entries.find(make_identity(client_id="", token_id="")) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("deny", "not TOML"),
        ("[deny]\n", "array of tables"),
        ("deny = 1\n", "array of tables"),
        ("deny = [1]\n", "entry 1: not a table"),
        ("[[allow]]\n", "unknown key 'allow'"),
        ("[[deny]]\n", "entry 1: give exactly one"),
        (entry(issuer=ISSUER), "entry 1: give exactly one"),
        (entry(subject="a"), "entry 1: subject needs issuer"),
        (entry(jti="a", client_id="b"), "entry 1: give exactly one"),
        (entry(jti="a") + entry(jti=""), "entry 2: jti must be a non-empty string"),
        ("[[deny]]\njti = 1\n", "jti must be a non-empty string"),
        (entry(jti="a", reason="left"), "unknown key 'reason'"),
        (entry(issuer=ISSUER, sub="a"), "unknown key 'sub'"),
        (entry(issuer=ISSUER + "/", subject="a"), "issuer is not one of"),
    ],
)
def test_a_list_that_would_not_deny_what_it_says_is_refused(text: str, why: str) -> None:
    with pytest.raises(DenyListInvalid, match=why):
        read_entries(text.encode(), ISSUERS)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DenyListInvalid) as caught:
        read_entries((entry(subject="a") + entry(jtj="b")).encode(), ISSUERS)
    assert "entry 1: subject needs issuer" in str(caught.value)
    assert "entry 2: unknown key 'jtj'" in str(caught.value)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_list_or_refused(raw: bytes) -> None:
    try:
        read_entries(raw, ISSUERS)
    except DenyListInvalid:
        return


def test_an_empty_file_denies_nobody() -> None:
    assert len(read_entries(b"", ISSUERS)) == 0
    assert len(read_entries((entry(jti="a") + entry(client_id="b")).encode(), ISSUERS)) == 2


class Scene:
    """A list in a file, and an admin with a clock."""

    def __init__(self, folder: Path) -> None:
        self.path, self.clock = folder / "deny.toml", FakeClock(1_000.0)

    def write(self, text: str) -> None:
        self.path.write_text(text)
        os.utime(self.path, (self.clock.now, self.clock.now))

    def open(self) -> FileDenyList:
        return FileDenyList(self.path, ISSUERS, self.clock)


@pytest.mark.parametrize("text", [None, "[[deny]]\n"])
def test_a_list_that_is_missing_or_broken_stops_the_start(text: str | None, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    if text is not None:
        scene.write(text)
    with pytest.raises(FileUnusable, match=r"deny\.toml"):
        scene.open()


def test_a_new_entry_counts_within_five_seconds(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.write("")
    deny_list = scene.open()
    scene.clock.advance(60)
    assert deny_list.find(ALICE) is None
    scene.write(entry(jti="token-1"))
    scene.clock.advance(4.9)
    assert deny_list.find(ALICE) == "jti"
    assert deny_list.error == ""


def test_a_broken_new_version_leaves_the_old_one_in_use_and_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.write(entry(jti="token-1"))
    deny_list = scene.open()
    for broken in ("[[deny]", "[[deny]]\n"):
        scene.write(broken)
        scene.clock.advance(5)
        assert deny_list.find(ALICE) == "jti"
        assert "deny.toml" in deny_list.error
    scene.write("")
    scene.clock.advance(5)
    assert deny_list.find(ALICE) is None
    assert deny_list.error == ""
