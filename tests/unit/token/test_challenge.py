"""WWW-Authenticate in the form of RFC 6750 section 3."""

import pytest

from gateway.token.challenge import bearer_challenge

URL = "https://slurm.example.org/.well-known/oauth-protected-resource"


def test_without_credentials_there_is_no_error() -> None:
    assert bearer_challenge(URL) == f'Bearer realm="slurm-gateway", resource_metadata="{URL}"'


def test_with_a_bad_token_the_error_is_named() -> None:
    assert bearer_challenge(URL, "invalid_token", "Not valid.") == (
        'Bearer realm="slurm-gateway", error="invalid_token", '
        f'error_description="Not valid.", resource_metadata="{URL}"'
    )


@pytest.mark.parametrize("character", ['"', "\\", "\r", "\n", "\x00", "\x7f", "é"])
def test_what_cannot_stand_in_an_attribute_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match="error_description"):
        bearer_challenge(URL, "invalid_token", f"a{character}b")
    with pytest.raises(ValueError, match="resource_metadata"):
        bearer_challenge(f"https://x/{character}")
