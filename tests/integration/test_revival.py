"""A daemon that has ended by itself runs again before the next test, and the run tells so."""

import pytest

from lab.slurm import SlurmRelease
from tests.revival import revive


@pytest.mark.disturbs_slurm
def test_what_has_ended_by_itself_runs_before_the_next_test(
    one_slurm_release: SlurmRelease, request: pytest.FixtureRequest
) -> None:
    one_slurm_release.kill("slurmrestd")
    try:
        revive(one_slurm_release, request.node)
        told = list(request.node.user_properties)
    finally:
        request.node.user_properties.clear()  # this time it was the test
    assert one_slurm_release.is_up()
    assert told == [("revived", f"slurmrestd of {one_slurm_release.name}")]


def test_nothing_is_told_where_all_of_them_run(
    one_slurm_release: SlurmRelease, request: pytest.FixtureRequest
) -> None:
    revive(one_slurm_release, request.node)
    assert request.node.user_properties == []
