"""(URL, names) -> a job submitted, read, listed and cancelled by a Python client of openapi-generator's making."""

import importlib
import inspect
import json
import os
import sys
import typing
from typing import Any


def main(url: str, names: dict[str, Any]) -> None:
    """Print what was seen."""
    made = importlib.import_module("made")
    settings = made.Configuration(
        host=url, access_token=os.environ["TOKEN"], ssl_ca_cert=os.environ["SSL_CERT_FILE"]
    )
    with made.ApiClient(settings) as client:
        slurm = made.SlurmApi(client)
        submit = _method(slurm, names["submit"])
        first = next(iter(inspect.signature(submit).parameters))
        model = _model(typing.get_type_hints(submit)[first])
        job = submit(model.from_dict(names["body"])).job_id
        get = _method(slurm, names["get"])
        kind = int if "int" in str(typing.get_type_hints(get)["job_id"]).lower() else str
        one = get(kind(job)).jobs[0].job_id
        listed = [job.job_id for job in _method(slurm, names["list"])().jobs]
        cancelled = _method(slurm, names["cancel"] + "_with_http_info")(kind(job))
        seen = {"job": job, "one": one, "listed": listed, "cancelled": cancelled.status_code}
        sys.stdout.write(json.dumps(seen))


def _method(slurm: Any, name: str) -> Any:
    """The generator drops some underscores: slurm_v0_0_38_get_jobs becomes slurm_v0038_get_jobs."""
    plain = name.replace("_", "")
    return next(getattr(slurm, one) for one in dir(slurm) if one.replace("_", "") == plain)


def _model(hint: Any) -> Any:
    """The class in Optional[Model] or Annotated[Model, ...]."""
    inner = [one for one in typing.get_args(hint) if hasattr(one, "from_dict")]
    return inner[0] if inner else hint


main(sys.argv[1], json.loads(sys.argv[2]))
