"""The bytes of a JSON file -> a body of job/submit, as it is, and what its author should know."""

import json
from typing import Any

from gateway.client.submit.script import MAXIMUM_BYTES
from gateway.client.trouble import Exit, Trouble


def is_json(content: bytes, name: str) -> bool:
    """Whether this is meant as JSON and not as a script."""
    return name.lower().endswith(".json") or content.lstrip().startswith(b"{")


def read_job_file(content: bytes, name: str) -> tuple[dict[str, Any], str]:
    """The body and a note, empty where there is nothing to say. Raises Trouble."""
    if len(content) > MAXIMUM_BYTES:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name} has more than {MAXIMUM_BYTES} bytes; the client takes no more of a job.",
            "put data into files that the script reads",
        )
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Trouble(Exit.UNFIT_DATA, f"{name} is not UTF-8.", "convert it with iconv") from None
    except json.JSONDecodeError as error:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"{name}, line {error.lineno}: it is no JSON: {error.msg}.",
            "JSON has neither comments nor a comma before a bracket",
        ) from None
    except RecursionError:
        raise Trouble(Exit.UNFIT_DATA, f"{name} is nested too deeply.") from None
    return _checked(found, name)


def _checked(found: Any, name: str) -> tuple[dict[str, Any], str]:
    example = 'write {"job": {...}, "script": "#!/bin/sh\\n..."}'
    if not isinstance(found, dict) or not {"job", "jobs"} & found.keys():
        raise Trouble(Exit.UNFIT_DATA, f"{name} describes no job.", example)
    if isinstance(found.get("jobs"), dict):
        if "job" in found:
            raise Trouble(Exit.UNFIT_DATA, f"{name} has `job` and `jobs`.", example)
        one = {**found, "job": found["jobs"]}
        del one["jobs"]
        return one, f'{name}: "jobs" is one job and no list; it is sent as "job"'
    job, jobs = found.get("job"), found.get("jobs")
    fits = isinstance(job, dict) or (
        isinstance(jobs, list) and bool(jobs) and all(isinstance(each, dict) for each in jobs)
    )
    if not fits:
        raise Trouble(Exit.UNFIT_DATA, f"{name} describes no job.", example)
    return found, ""
