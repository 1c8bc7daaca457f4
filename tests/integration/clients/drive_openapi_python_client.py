"""(URL, names) -> a job submitted, read, listed and cancelled by a client of openapi-python-client's making."""

import importlib
import inspect
import json
import os
import sys
import typing
from typing import Any


def main(url: str, names: dict[str, Any]) -> None:
    """Print what was seen."""
    client_class = importlib.import_module("made.client").AuthenticatedClient
    client = client_class(base_url=url, token=os.environ["TOKEN"])

    def call(name: str, *arguments: Any, **named: Any) -> Any:
        function = importlib.import_module(f"made.api.slurm.{names[name]}").sync_detailed
        return function(*arguments, client=client, **named)

    submit = importlib.import_module(f"made.api.slurm.{names['submit']}").sync_detailed
    model = typing.get_type_hints(submit)["body"]
    made = call("submit", body=model.from_dict(names["body"]))
    job = made.parsed.job_id
    parameters = inspect.signature(
        importlib.import_module(f"made.api.slurm.{names['get']}").sync_detailed
    ).parameters
    kind = int if parameters["job_id"].annotation is int else str
    one = call("get", kind(job))
    listed = [job.job_id for job in call("list").parsed.jobs]
    cancelled = call("cancel", kind(job))
    seen = {"job": job, "one": one.parsed.jobs[0].job_id, "listed": listed}
    sys.stdout.write(json.dumps({**seen, "cancelled": int(cancelled.status_code)}))


main(sys.argv[1], json.loads(sys.argv[2]))
