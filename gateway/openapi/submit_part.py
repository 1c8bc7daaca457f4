"""The operation job/submit as documented -> the same with a body that runs, and the header that makes it repeatable."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.request.media_type import JSON

_SUBMIT: Final = re.compile(r"/slurm/v0\.0\.([0-9]+)/job/submit/?")
_FIRST_WITH_A_LIST: Final = 39
"""Before, `environment` is an object (measured on 20.11 and 22.05)."""
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Made by the client, once for each job: with it the same request may be sent again"
    " and the job runs once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
    "style": "simple",
    "explode": False,
}
"""255 characters, and the quotes of a Structured Field around them."""


def for_submission(path: str, body: Mapping[str, Any], *, takes_keys: bool) -> dict[str, Any]:
    """A copy, of whatever operation with a body; its parts are shared and not changed."""
    found = _SUBMIT.fullmatch(path)
    if found is None:
        return dict(body)
    media = {**body["requestBody"]["content"][JSON], "example": example(int(found[1]))}
    parameters = [*body["parameters"], _KEY] if takes_keys else body["parameters"]
    return {
        **body,
        "parameters": parameters,
        "requestBody": {**body["requestBody"], "content": {JSON: media}},
    }


def example(version: int) -> dict[str, Any]:
    """A job that every cluster runs; /tmp is the one place that is certainly there and writable."""
    variable = f"PATH={_PATH}"
    return {
        "script": "#!/bin/sh\necho Hello from $(hostname)\n",
        "job": {
            "name": "hello",
            "current_working_directory": "/tmp",  # noqa: S108 (the job's, not ours)
            "environment": [variable] if version >= _FIRST_WITH_A_LIST else {"PATH": _PATH},
        },
    }
