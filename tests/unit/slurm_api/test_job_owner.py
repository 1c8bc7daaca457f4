"""Whose a job is, as each release writes it; and that every operation on jobs is held somehow."""

import json

import pytest

from gateway.slurm_api import read_catalogue
from gateway.slurm_api.job_owner import NOBODY, Owner, owner_of
from gateway.slurm_api.own_jobs import HOLDS


@pytest.mark.parametrize(
    ("job", "owner"),
    [
        ({"user_name": "alice", "user_id": 1001}, Owner("alice", 1001)),
        ({"user_name": "", "user_id": 1001}, Owner("", 1001)),  # 20.11
        ({"user": "alice", "association": {"user": ""}}, Owner("alice", None)),  # 26.05, slurmdb
        ({"user": "alice", "association": {"user": "alice"}}, Owner("alice", None)),
        ({"association": {"user": "alice"}}, Owner("alice", None)),
        ({"user": "alice", "association": {"user": "bob"}}, NOBODY),
        ({"user_name": "alice", "user": "bob", "user_id": 1001}, NOBODY),
        ({"user_name": 1001, "user_id": "1001"}, NOBODY),
        ({"user_id": True}, NOBODY),
        ({"user_name": None, "user_id": None, "association": None}, NOBODY),
        ({}, NOBODY),
        ([], NOBODY),
    ],
)
def test_an_owner_is_read_where_each_release_writes_it(job: object, owner: Owner) -> None:
    assert owner_of(json.dumps(job).encode()) == owner


def test_what_is_no_json_is_nobodys() -> None:
    assert owner_of(b'{"user_name": "alice"') == NOBODY


@pytest.mark.parametrize(
    ("owner", "is_alice"),
    [
        (Owner("alice", 1001), True),
        (Owner("alice", 1002), True),
        (Owner("bob", 1001), False),
        (Owner("", 1001), True),
        (Owner("", 1002), False),
        (Owner("Alice", None), False),
        (NOBODY, False),
    ],
)
def test_a_name_decides_and_without_one_the_number(owner: Owner, is_alice: bool) -> None:
    assert owner.is_user("alice", 1001) is is_alice


def test_without_a_known_number_a_job_without_a_name_is_nobodys() -> None:
    assert not NOBODY.is_user("alice", None)
    assert not Owner("", 1001).is_user("alice", None)


def test_every_operation_on_jobs_that_exist_is_held_to_their_owner() -> None:
    """A new operation has to be thought about."""
    makes_new_ones = {"POST /slurm/*/job/submit", "POST /slurm/*/job/allocate"}
    on_jobs = {
        entry.operation.name
        for entry in read_catalogue().entries
        if "job" in entry.operation.template
    }
    assert on_jobs - makes_new_ones == set(HOLDS)
