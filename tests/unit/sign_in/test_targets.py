"""After signing in nobody is sent away from here."""

import tomllib
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sign_in.targets import DEFAULT_TARGET, local_target

CORPUS = tomllib.loads(
    (Path(__file__).parents[2] / "security/corpus/sign_in_targets.toml").read_text()
)
ORIGIN = "https://slurm.example.org"


def leads_here(target: str) -> bool:
    """By urllib's reading, and by that of a browser, which takes a backslash for a slash and drops controls."""
    readings = [target, target.replace("\\", "/"), "".join(c for c in target if c > " ")]
    joined = [urlsplit(urljoin(f"{ORIGIN}/login", one)) for one in readings]
    return all((one.scheme, one.netloc) == ("https", "slurm.example.org") for one in joined)


def test_the_corpus_is_worth_its_name() -> None:
    assert len(CORPUS["refused"]) > 300


@pytest.mark.parametrize("target", CORPUS["refused"])
def test_a_target_that_may_lead_elsewhere_is_not_used(target: str) -> None:
    assert local_target(target) == DEFAULT_TARGET


@pytest.mark.parametrize("target", CORPUS["local"])
def test_a_target_of_ours_is_used_as_it_is(target: str) -> None:
    assert local_target(target) == target
    assert leads_here(target)


PIECES = st.sampled_from(
    [
        "/",
        "//",
        "\\",
        ".",
        "..",
        "@",
        ":",
        "?",
        "#",
        "%2f",
        "%5c",
        "\t",
        "\n",
        "evil.example",
        "me",
        " ",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=8).map("".join)))
def test_whatever_is_asked_for_the_way_leads_here(target: str) -> None:
    found = local_target(target)
    assert leads_here(found)
    assert found.isprintable()
    assert found in (target, DEFAULT_TARGET)


def test_without_a_target_there_is_one() -> None:
    assert local_target(None) == DEFAULT_TARGET
