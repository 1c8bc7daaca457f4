"""The short form of the soak: two kills of the gateway and one of slurmrestd, under load of three users."""

from pathlib import Path

import pytest

from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from soak.plan import SHORT
from soak.report import as_text
from soak.run import soak
from soak.site import Site


@pytest.mark.disturbs_slurm
def test_what_was_acknowledged_is_recorded_and_no_job_ran_twice(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    site = Site(one_slurm_release, identity_provider, tmp_path / "gateway", SHORT.settle_seconds)
    found = soak(SHORT, site, print, seed=1)
    assert found.failures() == [], as_text(found)
    assert found.acknowledged_found == found.acknowledged > 100
    assert found.requests_unanswered > 0, "the kills hit requests under way"
    assert found.keys_unsettled == 0
    assert found.broken_lines == 0
