"""Users share answers before real releases: while Slurm hides nothing, and never what it hides."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.test_cache import People, Person, status_of

SHARED = {
    "cache": {
        "enabled": True,
        "seconds": 3600.0,
        "slow_seconds": 3600.0,
        "private_data_is_empty": True,
        "share_as": "carol",
    }
}
ON_SID = pytest.mark.parametrize("slurm_release", ["sid"], indirect=True)


@pytest.fixture
def people(
    slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> Iterator[People]:
    """Alice and bob at a gateway that asks as carol, who has no job; and no jobs of theirs left behind."""
    at, version = gateway(slurm_release, SHARED), slurm_release.api_versions[-1]
    found = [
        Person(name, at, identity_provider.token_for(name), version) for name in ("alice", "bob")
    ]
    yield found[0], found[1]
    for person in found:
        for job_id in person.submitted:
            person.ask("DELETE", f"/job/{job_id}")


@pytest.mark.parametrize("slurm_release", ["bookworm", "sid"], indirect=True)
def test_one_answer_serves_all_and_own_writes_show_all_the_same(people: People) -> None:
    alice, bob = people
    first = alice.ask("GET", "/nodes")
    assert "fwd" in status_of(first)
    second = bob.ask("GET", "/nodes")
    assert "hit" in status_of(second)
    assert second.body == first.body
    assert bob.record(second)["user"] == "bob"
    alice.listed()
    job_id = bob.submit()
    assert job_id in bob.listed()
    shown = alice.ask("GET", "/jobs")
    assert "hit" in status_of(shown)  # what was fetched for him is hers, too
    assert job_id in {int(job["job_id"]) for job in shown.json()["jobs"]}


def privately(release: SlurmRelease, text: str) -> Iterator[SlurmRelease]:
    file: Path = release.layout.outside / "etc/slurm.conf"
    usual = file.read_text()
    try:
        file.write_text(usual + text)
        restart(release)
        yield release
    finally:
        file.write_text(usual)
        restart(release)


def restart(release: SlurmRelease) -> None:
    for daemon in ("slurmrestd", "slurmctld"):
        release.stop(daemon)
    for daemon in ("slurmctld", "slurmrestd"):
        release.start(daemon)


@pytest.fixture
def private_slurm(slurm_release: SlurmRelease) -> Iterator[SlurmRelease]:
    """A cluster on which users see their own jobs alone, whatever the gateway was told."""
    yield from privately(slurm_release, "PrivateData=jobs\n")


@pytest.mark.disturbs_slurm
@ON_SID
def test_a_cluster_that_says_otherwise_ends_the_sharing(
    private_slurm: SlurmRelease, people: People
) -> None:
    alice, bob = people
    own = {person.name: person.submit() for person in people}
    for _ in range(3):
        assert own["alice"] in alice.listed()
        assert own["bob"] in bob.listed()
        assert own["bob"] not in alice.listed()
        assert own["alice"] not in bob.listed()
    assert "fwd" in status_of(alice.ask("GET", "/partitions"))
    assert "fwd" in status_of(bob.ask("GET", "/partitions"))


@pytest.mark.disturbs_slurm
@pytest.mark.parametrize("slurm_release", ["bookworm"], indirect=True)
def test_where_nobody_can_be_asked_a_wrong_word_hides_jobs_and_shows_none(
    private_slurm: SlurmRelease, people: People
) -> None:
    alice, bob = people
    own = {person.name: person.submit() for person in people}
    for _ in range(3):
        assert not {own["alice"], own["bob"]} & (set(alice.listed()) | set(bob.listed()))
