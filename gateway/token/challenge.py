"""(what is wrong) -> the value of WWW-Authenticate: Bearer (RFC 6750 section 3, RFC 9728 section 5.1)."""

import re

_REALM = "slurm-gateway"
_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
"""RFC 6750 section 3 leaves out the quote and the backslash, so that nothing needs escaping."""


def bearer_challenge(
    resource_metadata: str,
    error: str = "",
    error_description: str = "",
    *,
    acr_values: str = "",
    max_age: str = "",
) -> str:
    """The challenge; without `error` where no credentials were sent. The last two are of RFC 9470.

    `resource_metadata` is the URL of the document of RFC 9728. Raises ValueError for characters that
    an attribute cannot have.
    """
    attributes = {
        "realm": _REALM,
        "error": error,
        "error_description": error_description,
        "acr_values": acr_values,
        "max_age": max_age,
        "resource_metadata": resource_metadata,
    }
    for name, value in attributes.items():
        if not _QUOTABLE.fullmatch(value):
            raise ValueError(f"{name} has a character that a challenge cannot carry")
    shown = ", ".join(f'{name}="{value}"' for name, value in attributes.items() if value)
    return f"Bearer {shown}"
