"""`run-folder`: what it takes and what its help says."""

from pathlib import Path
from typing import Any

import click

from gateway.client.options import Options, client_command, load_run


@client_command(
    "run-folder",
    epilog="""\b
Examples:
  slurm-gateway run-folder ~/jobs
  slurm-gateway run-folder --at-once 4 /data/jobs
  cp job.sh ~/jobs/.job.sh && mv ~/jobs/.job.sh ~/jobs/job.sh
  slurm-gateway run-folder --once ~/jobs && echo all done
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--at-once",
    "-n",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="How many jobs may wait or run at the same time.",
)
@click.option("--once", is_flag=True, help="End when nothing is left; 1 where a job failed.")
@click.option(
    "--settle",
    "settle_seconds",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a file must not have changed.",
)
def run_folder(options: Options, folder: Path, **wish: Any) -> int:
    """Run the job files that appear in a folder.

    Batch scripts and jobs in JSON, the oldest first. Each is submitted once, followed to its end,
    and moved to DIR/done, or to DIR/failed, with its answer beside it: NAME.answer.json. Names that
    begin with a dot or end as unfinished files do (.part, .tmp, ~) are left alone.

    It may be killed at any moment, and so may the gateway: the next run-folder goes on where it
    was, and submits nothing twice.
    """
    from gateway.client.runs.run_folder import Wish

    return int(load_run("run_folder")(options, folder, Wish(**wish)))
