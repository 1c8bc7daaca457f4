"""`slurm-token`: what it takes and what its help says."""

import click

from gateway.client.options import Options, client_command, load_run


@client_command(
    "slurm-token",
    epilog="""\b
Examples:
  eval "$(slurm-gateway slurm-token)" && squeue --me
  slurm-gateway slurm-token --shell fish | source
  slurm-gateway slurm-token --json
""",
)
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish"]),
    default="sh",
    show_default=True,
    help="For which shell; sh is for bash and zsh, too.",
)
def slurm_token(options: Options, shell: str) -> int:
    """Print a short Slurm token of your own, for Slurm's own commands.

    It lasts ten minutes at most and never longer than your sign-in. Whoever has it is you to Slurm,
    past all rules of the gateway, so that the gateway gives it only to those who may have one.
    """
    return int(load_run("slurm_token")(options, shell))
