"""A table follows its file, and a broken file leaves the last good rows in use and says so."""

import os
from pathlib import Path

import pytest

from gateway.edges.edited_file import FileUnusable
from gateway.edges.user_table import UserTableFile
from tests.fakes import ISSUER, FakeClock, make_identity

ROW = f'[[user]]\nissuer = "{ISSUER}"\nsubject = "subject-of-alice"\nuser = "{{}}"\n'


def write(path: Path, text: str, written_at: float) -> None:
    path.write_text(text)
    os.utime(path, (written_at, written_at))


def users(table: UserTableFile) -> frozenset[str]:
    return table().users_of(make_identity())


def test_an_edit_is_followed_and_a_mistake_is_not(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "users.toml"
    write(path, ROW.format("alice"), clock.now - 60)
    table = UserTableFile(path, clock)
    assert users(table) == {"alice"}

    write(path, ROW.format("bob"), clock.now)
    clock.advance(5)
    assert users(table) == {"bob"}

    write(path, ROW.format("Not A User"), clock.now)
    clock.advance(5)
    assert users(table) == {"bob"}
    assert "user 1: user 'Not A User' is not an account name" in table.state()

    path.unlink()
    clock.advance(5)
    assert users(table) == {"bob"}
    assert "No such file" in table.state()

    write(path, "", clock.now)
    clock.advance(5)
    assert users(table) == frozenset()
    assert table.state() == ""


@pytest.mark.parametrize("content", [None, b"user = 1", b"\xff\xfe"])
def test_a_gateway_does_not_start_without_a_good_table(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "users.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileUnusable, match=str(path)):
        UserTableFile(path)


def test_the_example_in_the_repository_is_good_as_it_is_and_with_its_rows_switched_on(
    tmp_path: Path,
) -> None:
    example = Path(__file__).parents[3] / "config" / "users.toml"
    assert len(UserTableFile(example)()) == 0
    _, first, rows = example.read_text().partition("# # ")
    switched_on = [line.removeprefix("# ") for line in (first + rows).splitlines()]
    (tmp_path / "users.toml").write_text("\n".join(switched_on))
    assert len(UserTableFile(tmp_path / "users.toml")()) == 3
