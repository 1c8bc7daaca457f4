"""The client's commands that ask a cluster: what they are called, what they take and what their help says."""

from typing import Any

import click

from gateway.client.options import Options, client_command, load_run

_users = click.option("--user", "-u", "users", metavar="LIST", help="Of these users.")
_mine = click.option("--me", "mine", is_flag=True, help="Your own.")
_states = click.option(
    "--states", "-t", metavar="LIST", help="In these states: PENDING, R, CD, … or all."
)
_partitions = click.option("--partition", "-p", "partitions", metavar="LIST", help="In these.")
_accounts = click.option("--account", "-A", "accounts", metavar="LIST", help="Of these accounts.")
_names = click.option("--name", "-n", "names", metavar="LIST", help="With these names.")
_heading = click.option("--noheader", "heading", flag_value=False, default=True, help="No heading.")


def _choice(given: dict[str, Any]) -> Any:
    from gateway.client.choosing import make_choice

    known = ("users", "states", "partitions", "accounts", "names", "job_ids")
    return make_choice(**{name: given.pop(name) for name in known if name in given})


@client_command(
    "jobs",
    epilog="""\b
Examples:
  slurm-gateway jobs
  slurm-gateway jobs --me --long
  slurm-gateway jobs -u alice,bob -t PENDING -p gpu
  slurm-gateway jobs --me -O jobid,name,state,time_left
  slurm-gateway jobs --me --states all --json
""",
)
@_users
@_mine
@_states
@_partitions
@_accounts
@_names
@click.option("--jobs", "-j", "job_ids", metavar="LIST", multiple=True, help="These jobs.")
@click.option("--long", "-l", "is_long", is_flag=True, help="The time limit, and states in full.")
@click.option(
    "--format", "-O", "columns", metavar="LIST", help="These columns; a wrong one lists all."
)
@_heading
def jobs(options: Options, **given: Any) -> int:
    """List jobs, as `squeue` does.

    Without --states those that wait, run, or are about to end. All filters have to fit.
    """
    return int(load_run("jobs")(options, _choice(given), **given))


@client_command(
    "job",
    epilog="""\b
Examples:
  slurm-gateway job 4711
  slurm-gateway job 4711_3 --json
""",
)
@click.argument("job_id", metavar="ID")
def job(options: Options, job_id: str) -> int:
    """Show a job, as `scontrol show job` does."""
    return int(load_run("job")(options, job_id))


@client_command(
    "cancel",
    epilog="""\b
Examples:
  slurm-gateway cancel 4711 4712_3
  slurm-gateway cancel --me --states PENDING
  slurm-gateway cancel --signal USR1 4711
""",
)
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@_users
@_mine
@_states
@_partitions
@_accounts
@_names
@click.option("--signal", "-s", metavar="NAME", help="Send this signal instead: USR1, 10.")
@click.option("--interactive", "-i", is_flag=True, help="Ask before each one.")
def cancel(options: Options, job_ids: tuple[str, ...], **given: Any) -> int:
    """Cancel jobs, as `scancel` does.

    With filters, all jobs that fit every one of them and are not over. It says nothing where all
    went well, and exits with 1 where a job could not be cancelled.
    """
    from gateway.client.choosing import check_id

    checked = tuple(check_id(one) for one in job_ids)
    return int(load_run("cancel")(options, checked, _choice(given), **given))


@client_command(
    "nodes",
    epilog="""\b
Examples:
  slurm-gateway nodes
  slurm-gateway nodes --states idle,mix -p gpu
""",
)
@click.option("--nodes", "-n", "names", metavar="LIST", help="These nodes: node1,node[3-5].")
@click.option("--states", "-t", metavar="LIST", help="In these states: idle, mixed, drain, …")
@_partitions
def nodes(options: Options, **given: Any) -> int:
    """List nodes, as `sinfo --Node --long` does."""
    return int(load_run("nodes")(options, **given))


@client_command(
    "partitions",
    epilog="""\b
Examples:
  slurm-gateway partitions
  slurm-gateway partitions -p gpu,debug
""",
)
@click.option("--partition", "-p", "names", metavar="LIST", help="These partitions.")
def partitions(options: Options, **given: Any) -> int:
    """List partitions, as `sinfo` does."""
    return int(load_run("partitions")(options, **given))


@client_command(
    "history",
    epilog="""\b
Examples:
  slurm-gateway history
  slurm-gateway history -S now-7days -X --states FAILED
  slurm-gateway history -j 4711
""",
)
@_users
@click.option("--allusers", "-a", "everybody", is_flag=True, help="Everybody's.")
@click.option("--state", "-s", "states", metavar="LIST", help="That ended in these states.")
@click.option("--partition", "-r", "partitions", metavar="LIST", help="In these partitions.")
@_accounts
@click.option("--name", "names", metavar="LIST", help="With these names.")
@click.option("--jobs", "-j", "job_ids", metavar="LIST", multiple=True, help="These jobs.")
@click.option("--starttime", "-S", metavar="TIME", help="Since then; today by default.")
@click.option("--endtime", "-E", metavar="TIME", help="Submitted until then.")
@click.option("--allocations", "-X", "jobs_only", is_flag=True, help="No steps.")
@click.option("--long", "-l", "is_long", is_flag=True, help="Users and times, too.")
@_heading
def history(options: Options, **given: Any) -> int:
    """List jobs of the accounting, as `sacct` does.

    Your own of today, unless an option says otherwise. Times are written as 2026-01-31,
    2026-01-31T14:30, 14:30, today or now-2hours.
    """
    return int(load_run("history")(options, _choice(given), **given))


@client_command(
    "watch",
    epilog="""\b
Examples:
  slurm-gateway watch 4711
  slurm-gateway watch 4711 && scp cluster:results.csv .
""",
)
@click.argument("job_id", metavar="ID")
def watch(options: Options, job_id: str) -> int:
    """Follow a job to its end and exit with its code.

    It prints a line for each change of its state. As with `sbatch --wait`, the exit code is the
    script's own, and 1 where a signal or Slurm ended it; of an array, the worst.
    """
    return int(load_run("watch")(options, job_id))


@client_command(
    "diag",
    epilog="""\b
Examples:
  slurm-gateway diag
  slurm-gateway diag --json
""",
)
def diag(options: Options) -> int:
    """Show slurmctld's statistics, as `sdiag` does."""
    return int(load_run("diag")(options))


CLUSTER_COMMANDS = (jobs, job, cancel, watch, history, nodes, partitions, diag)
ALIASES = {
    "submit-job": "submit",
    "list-jobs": "jobs",
    "describe-job": "job",
    "cancel-job": "cancel",
}
"""As AWS ParallelCluster's example of a client calls them."""
