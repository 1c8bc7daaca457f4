"""Every deny list finds the subject that it names, and nobody else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.edges.deny_list import FileDenyList, NoDenyList
from gateway.stages.authenticate import DenyList
from tests.fakes import ISSUER, make_identity
from tests.tokens import FakeDenyList

MakeDenyList = Callable[[Path, tuple[str, ...]], DenyList]


def fake(_folder: Path, subjects: tuple[str, ...]) -> DenyList:
    deny_list = FakeDenyList()
    deny_list.subjects.update(subjects)
    return deny_list


def file(folder: Path, subjects: tuple[str, ...]) -> DenyList:
    path = folder / "deny.toml"
    path.write_text(
        "".join(f'[[deny]]\nissuer = "{ISSUER}"\nsubject = "{subject}"\n' for subject in subjects)
    )
    return FileDenyList(path, [ISSUER])


@pytest.mark.parametrize("make", [fake, file])
def test_a_named_subject_is_found(make: MakeDenyList, tmp_path: Path) -> None:
    deny_list = make(tmp_path, ("mallory", "subject-of-alice"))
    assert deny_list.find(make_identity()) == "subject"


def none(_folder: Path, _subjects: tuple[str, ...]) -> DenyList:
    return NoDenyList()


@pytest.mark.parametrize("make", [fake, file, none])
def test_nobody_else_is_found(make: MakeDenyList, tmp_path: Path) -> None:
    deny_list = make(tmp_path, ("mallory",))
    assert deny_list.find(make_identity()) is None
    assert make(tmp_path, ()).find(make_identity(subject="")) is None
