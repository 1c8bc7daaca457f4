"""The tree of commands -> its manual page, slurm-gateway(1), in the language of man(7)."""

import inspect
from collections.abc import Iterable, Iterator
from textwrap import wrap

import click

from gateway.client.options import COMMON
from gateway.client.trouble import MEANINGS

_DATE = "2026-11-21"
"""Of the last change of the page; mandoc asks for one."""
_VARIABLES = {
    "SLURM_GATEWAY_URL": "The gateway to ask.",
    "SLURM_GATEWAY_PROFILE": "The sign-in to use.",
    "SLURM_GATEWAY_CA_FILE": "Authorities (PEM) to trust instead of the system's.",
    "SLURM_GATEWAY_API_VERSION": "The API version to ask in.",
    "SLURM_GATEWAY_TOKEN": "An access token, used as it is.",
    "SLURM_GATEWAY_TOKEN_FILE": "A file with an access token, read for each command.",
    "SLURM_GATEWAY_CLIENT_SECRET": "The secret for --client-credentials.",
    "SLURM_GATEWAY_CHDIR": "The folder on the cluster in which jobs run.",
    "SLURM_GATEWAY_USER": "Whom --me means, whatever the gateway and the token say.",
    "SLURM_GATEWAY_HOME": "Where the client keeps its files.",
    "SLURM_GATEWAY_NO_BROWSER": "Not empty: print the address and open no browser.",
    "SLURM_GATEWAY_CONFIG": "The server's configuration file.",
    "NO_COLOR": "Not empty: no colours.",
}
_REPLACED = {"\\": "\\e", "-": "\\-", "…": "...", "→": "\\(->", "’": "'"}
_VERBATIM = "\b"
_COLUMNS = 70


def render(main: click.Group) -> str:
    """The whole page; the same tree gives the same page."""
    context = click.Context(main, info_name="slurm-gateway", **main.context_settings)
    lines = [
        f'.TH SLURM\\-GATEWAY 1 {_DATE} "slurm-gateway" "User Commands"',
        ".SH NAME",
        "slurm\\-gateway \\- authenticating gateway of slurmrestd, and its client",
        ".SH SYNOPSIS",
        ".B slurm\\-gateway",
        ".I COMMAND",
        "[OPTION]... [ARGUMENT]...",
        ".SH DESCRIPTION",
        *_text(main.help or ""),
        *_text(main.epilog or ""),
        ".SH OPTIONS OF ALL CLIENT COMMANDS",
        *_common(context),
        ".SH COMMANDS",
        *_commands(main, context),
        ".SH EXIT STATUS",
        "Of the client's commands:",
        *(line for code, says in MEANINGS.items() for line in _item(str(int(code)), says)),
        ".SH ENVIRONMENT",
        *(line for name, says in _VARIABLES.items() for line in _item(name, says)),
        ".SH SEE ALSO",
        ".BR sbatch (1),",
        ".BR squeue (1),",
        ".BR scancel (1),",
        ".BR sinfo (1),",
        ".BR sacct (1)",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _command(command, inner)
            yield from _commands(command, inner)
        else:
            yield from _command(command, inner)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f".SS {_plain(context.command_path)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".B {_plain(context.command_path)}"
    yield _plain(usage)
    yield ".PP"
    yield from _text(command.help or "")
    skipped = COMMON if _is_client(command) else ()
    yield from _options(one for one in command.params if one.name not in skipped)
    yield from _text(command.epilog or "")


def _common(context: click.Context) -> Iterator[str]:
    """Of one that has them; they are the same everywhere."""
    tree = context.command
    assert isinstance(tree, click.Group)  # noqa: S101 (it is the program)
    one = next(filter(_is_client, tree.commands.values()))
    yield from _options(each for each in one.params if each.name in COMMON)


def _is_client(command: click.Command) -> bool:
    return {one.name for one in command.params} >= set(COMMON)


def _options(parameters: Iterable[click.Parameter]) -> Iterator[str]:
    for parameter in parameters:
        context = click.Context(click.Command("any"), show_default=None)
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield from _item(*record)


def _item(label: str, says: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_plain(label)}"
    yield from _wrapped(says)


def _text(text: str) -> Iterator[str]:
    """Paragraphs; one that is marked as click marks it stays as it is."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        lines = [line for line in paragraph.splitlines() if line.strip(f"{_VERBATIM} ")]
        if not lines:
            continue
        if number or paragraph.startswith(_VERBATIM):
            yield ".PP"
        if paragraph.startswith(_VERBATIM):
            yield ".nf"
            yield from map(_line, lines)
            yield ".fi"
        else:
            yield from _wrapped(" ".join(lines))


def _wrapped(text: str) -> Iterator[str]:
    """Source lines that a terminal takes."""
    yield from map(_line, wrap(text, _COLUMNS, break_on_hyphens=False, break_long_words=False))


def _line(text: str) -> str:
    """A line that begins with no request of roff's."""
    plain = _plain(text.strip(_VERBATIM).rstrip())
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def _plain(text: str) -> str:
    return "".join(_REPLACED.get(one, one) for one in text)
