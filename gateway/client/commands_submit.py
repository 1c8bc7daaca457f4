"""`submit`: its own options among sbatch's, which nobody has to learn anew."""

from typing import Any

import click

from gateway.client.options import ClientCommand, Options, client_command, load_run

_OWN_WITH_VALUES = frozenset(
    {"--gateway", "--profile", "--ca-file", "--api-version", "--timeout", "--idempotency-key"}
)
_OWN_FLAGS = frozenset({"--json", "--help", "-h", "--dry-run"})


class SubmitCommand(ClientCommand):
    """Takes its own options from before the script, and leaves all others to sbatch's own rules."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Own options first, then everything else behind a --."""
        own, rest = split(args)
        return super().parse_args(ctx, [*own, "--", *rest])


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The client's own options, and the rest: sbatch's, the script, and the script's arguments."""
    from gateway.client.submit.table import read_options

    known = read_options()
    takes_value = {f"--{one.name}" for one in known.values() if one.argument == "value"}
    letters = {f"-{one.short}" for one in known.values() if one.short and one.argument == "value"}
    own: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if name in _OWN_WITH_VALUES:
            own += [word] if equals or not left else [word, left.pop(0)]
        elif word in _OWN_FLAGS:
            own.append(word)
        else:
            rest.append(word)
            if left and ((name in takes_value and not equals) or word in letters):
                rest.append(left.pop(0))
    return own, [*rest, *left]


@client_command(
    "submit",
    cls=SubmitCommand,
    epilog="""\b
Examples:
  slurm-gateway submit --chdir /home/alice job.sh
  slurm-gateway submit -p gpu -t 2:00:00 --wait job.sh input.dat
  slurm-gateway submit -D /scratch/alice --wrap 'hostname; date'
  slurm-gateway submit job.json
  slurm-gateway submit --dry-run job.sh
""",
)
@click.option(
    "--idempotency-key", "key", metavar="KEY", help="Ask again about the submission with this key."
)
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.argument(
    "words", metavar="[OPTIONS OF SBATCH] SCRIPT [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED
)
def submit(options: Options, words: tuple[str, ...], **given: Any) -> int:
    """Submit a batch script, as `sbatch` does, or a job in JSON.

    All options of sbatch that the REST API has a field for are taken from the command line, from
    SBATCH_* variables, and from #SBATCH lines, in this order of precedence. One that cannot be
    sent is an error. The folder is the cluster's: say --chdir, or set SLURM_GATEWAY_CHDIR. Of this
    machine's variables none is sent but those that --export names.

    With --wait it follows the job and exits with its code. A submission that breaks off is asked
    for again with the same key, so that no job runs twice.
    """
    return int(load_run("submit")(options, words, **given))
