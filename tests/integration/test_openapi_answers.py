"""The corrected document beside real answers: nothing contradicts it, and each correction is needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.openapi.corrections import Correction, read_corrections
from gateway.openapi.cut import cut
from gateway.openapi.grammar import MENDS, require_members_alone
from gateway.openapi.own_part import Publisher
from gateway.openapi.source import read_source
from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.conftest import _start
from tests.integration.openapi_answers import EVERYTHING, Site, contradictions, versions_of

PUBLISHER = Publisher("https://slurm.example.org", "lab", ())
OLDEST = "v0.0.35"
CORRECTIONS = read_corrections()


@pytest.fixture(scope="module")
def site(
    slurm_release: SlurmRelease,
    identity_provider: IdentityProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Everything is asked once for all tests of a release."""
    folder: Path = tmp_path_factory.mktemp("openapi") / slurm_release.name
    gateway: GatewayProcess = _start(slurm_release, identity_provider, folder, EVERYTHING)
    found = Site(slurm_release, gateway, identity_provider.token_for("alice"))
    try:
        found.fill()
        found.ask_all(versions_of(served(found)))
        yield found
    finally:
        gateway.stop()
        found.cancel()


def served(site: Site) -> dict[str, Any]:
    document: dict[str, Any] = site.gateway.ask("GET", "/openapi/v3", site.token).json()
    return document


def test_no_answer_contradicts_the_served_document(site: Site) -> None:
    document = served(site)
    found = [text for answer in site.answers for text in contradictions(document, answer)]
    assert found == []


def test_the_answers_are_of_many_kinds(site: Site) -> None:
    """So that the test above cannot pass because there was nothing to compare."""
    for version in versions_of(served(site)):
        good = [one for one in site.answers if one.version == version and one.status == 200]
        assert len(good) >= (5 if version == OLDEST else 15), version
        jobs = next(one for one in good if one.path.endswith(f"/slurm/{version}/jobs"))
        found = jobs.body if version == OLDEST else jobs.body["jobs"]
        assert len(found) >= 10


def test_each_correction_is_needed(site: Site) -> None:
    """Without it, an answer of each release that it names contradicts the document."""
    raw = site.release.request("alice", "GET", "/openapi/v3")[1]
    measured = [one for one in CORRECTIONS if site.release.release.slurm in one.measured]
    assert measured
    needless = [one for one in measured if not _is_needed(one, raw, site)]
    assert [(" ".join(one.place), one.reason) for one in needless] == []


def _is_needed(correction: Correction, raw: bytes, site: Site) -> bool:
    others = [one for one in CORRECTIONS if one is not correction]
    document = cut(read_source(raw, others), _whatever, PUBLISHER)
    numbers = {f"v0.0.{number}" for number in correction.versions}
    return any(
        True
        for answer in site.answers
        if answer.version in numbers
        for _ in contradictions(document, answer)
    )


def test_what_is_required_by_a_path_is_in_no_answer(site: Site) -> None:
    """Why there is such a rule among those of grammar."""
    raw = site.release.request("alice", "GET", "/openapi/v3")[1]
    mends = [mend for mend in MENDS if mend is not require_members_alone]
    document = cut(read_source(raw, CORRECTIONS, mends), _whatever, PUBLISHER)
    found = [text for answer in site.answers for text in contradictions(document, answer)]
    assert bool(found) is (site.release.release.slurm in ("24.11", "26.05"))


def _whatever(method: str, path: str) -> frozenset[str]:
    """Everything, as for whoever may do all."""
    return frozenset()


@pytest.mark.parametrize("release", ["20.11", "22.05", "24.11", "26.05"])
def test_every_release_has_corrections_of_its_own(release: str) -> None:
    assert [one for one in CORRECTIONS if release in one.measured]


def test_every_correction_has_a_reason_that_is_a_sentence() -> None:
    for one in CORRECTIONS:
        assert one.reason[0].isupper()
        assert one.reason.endswith(".")
