"""What every UserTable keeps: run on the fake and on the real one."""

from pathlib import Path

import pytest

from gateway.edges.user_table import UserTableFile
from gateway.users.rows import read_user_rows
from gateway.users.rules import UserTable
from tests.fake_users import FakeUserTable
from tests.fakes import ISSUER, make_identity

TEXT = f'[[user]]\nissuer = "{ISSUER}"\nsubject = "subject-of-alice"\nuser = "alice"\n'


@pytest.fixture(params=["fake", "file"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> UserTable:
    if request.param == "fake":
        return FakeUserTable(read_user_rows(TEXT))
    path = tmp_path / "users.toml"
    path.write_text(TEXT)
    return UserTableFile(path)


def test_a_table_answers_with_its_rows_every_time(table: UserTable) -> None:
    for _ in range(3):
        assert table().users_of(make_identity()) == {"alice"}
        assert table().users_of(make_identity(subject="somebody-else")) == frozenset()
