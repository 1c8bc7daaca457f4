"""`completion` and `manual`: what a shell and its user can have of the commands themselves."""

import click

_VARIABLE = "_SLURM_GATEWAY_COMPLETE"
_NAME = "slurm-gateway"


@click.command(
    epilog="""\b
Examples:
  eval "$(slurm-gateway completion bash)"          # in ~/.bashrc
  eval "$(slurm-gateway completion zsh)"           # in ~/.zshrc, behind compinit
  slurm-gateway completion fish | source           # in ~/.config/fish/config.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands and options."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:  # click knows all three
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(made(context.find_root().command, {}, _NAME, _VARIABLE).source())


@click.command(
    epilog="""\b
Examples:
  slurm-gateway manual | man -l -
  slurm-gateway manual > ~/.local/share/man/man1/slurm-gateway.1
""",
)
@click.pass_context
def manual(context: click.Context) -> None:
    """Print the manual page, slurm-gateway(1)."""
    from gateway.client.manual import render

    tree = context.find_root().command
    if not isinstance(tree, click.Group):
        raise click.UsageError("there are no commands")
    click.echo(render(tree), nl=False)


SHELL_COMMANDS = (completion, manual)
