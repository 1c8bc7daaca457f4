"""Options of the commands that look for records -> a Query, and the files to look in."""

import hmac
import ipaddress
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.audit_log.files import AuditFile, Unreadable, look_into
from gateway.audit_log.moments import EXAMPLES, read_moment
from gateway.audit_log.query import REQUEST_EVENTS, Query
from gateway.audit_log.runs import Place
from gateway.commands.reporting import report_mistakes

FOUND, NOTHING, UNREADABLE = 0, 1, 2
_MAXIMUM_TOKEN_BYTES = 65_536
_TOKEN_HASH_BYTES = 16

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--user", metavar="NAME", help="The Slurm user."),
    click.option("--subject", metavar="SUB", help="The identity provider's subject."),
    click.option("--client", "client_id", metavar="ID", help="The client of the token."),
    click.option("--job", metavar="ID", help="A job that was submitted, read or changed."),
    click.option(
        "--operation",
        metavar="GLOB",
        help="'POST /slurm/*/job/submit', or a method and path such as 'DELETE */job/4711'.",
    ),
    click.option("--verdict", type=click.Choice(["granted", "denied"])),
    click.option("--code", metavar="CODE", help="A refusal's code, such as operation-unlisted."),
    click.option("--request", "request_id", metavar="ID", help="The id that the client was told."),
    click.option("--address", metavar="ADDRESS|NETWORK", help="Where the client was."),
    click.option("--token-hash", metavar="HEX", help="A token, as the audit names it."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, allow_dash=True),
        help="A file with a token (- for standard input); it is hashed with the gateway's key.",
    ),
    click.option(
        "--event", "events", multiple=True, metavar="NAME", help="start, stop, reload, ..."
    ),
    click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        envvar="SLURM_GATEWAY_CONFIG",
        default="/etc/slurm-gateway/gateway.toml",
        show_default=True,
        help="Read for the files, if none are given, and for --token-file.",
    ),
)
_TIMES = (
    click.option("--since", metavar="TIME", help=f"Not before: {EXAMPLES}."),
    click.option("--until", metavar="TIME", help="Before this time."),
)


def filter_options(*, times: bool = True) -> Callable[[_Command], _Command]:
    """All options of a Query; the command hands them to `query_of` as they come."""

    def decorate(command: _Command) -> _Command:
        for option in reversed((*(_TIMES if times else ()), *_OPTIONS)):
            command = option(command)
        return command

    return decorate


def query_of(options: Mapping[str, Any]) -> Query:
    """Raises click's usage errors."""
    token_file, token_hash = options["token_file"], options["token_hash"] or ""
    if token_file is not None:
        if token_hash:
            raise click.UsageError("give one of --token-hash, --token-file")
        token_hash = _hash_of(token_file, options["config"])
    names = ("user", "subject", "client_id", "job", "operation", "verdict", "code", "request_id")
    given: dict[str, Any] = {name: options[name] or "" for name in names}
    return Query(
        **given,
        token_hash=token_hash.lower(),
        network=_network(options["address"]),
        since=_moment(options.get("since"), "--since"),
        until=_moment(options.get("until"), "--until"),
        events=frozenset(options["events"]) or REQUEST_EVENTS,
    )


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        return read_moment(text, datetime.now().astimezone())
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _network(text: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--address") from error


def _hash_of(path: Path, config: Path) -> str:
    """As Authenticate.hash_token does it, with the key that the gateway keeps in its state directory."""
    from gateway.edges.process_file import HASH_KEY_FILE

    key_file = _configured(config).server.state_directory / HASH_KEY_FILE
    try:
        key = key_file.read_bytes()
        if str(path) == "-":
            token = sys.stdin.buffer.read(_MAXIMUM_TOKEN_BYTES)
        else:
            with path.open("rb") as file:
                token = file.read(_MAXIMUM_TOKEN_BYTES)
    except OSError as error:
        raise click.BadParameter(
            f"{error.filename}: {error.strerror}", param_hint="--token-file"
        ) from error
    token = token.strip()
    if not token:
        raise click.BadParameter(f"{path} is empty", param_hint="--token-file")
    return hmac.digest(key, token, "sha256")[:_TOKEN_HASH_BYTES].hex()


def _configured(config: Path) -> Any:
    """The whole configuration, loaded only by whoever needs it."""
    from gateway.config.load import load
    from gateway.config.problem import ConfigurationError

    try:
        return load(config, os.environ)
    except ConfigurationError as error:
        report_mistakes(error, config)
        sys.exit(UNREADABLE)


def current_files(config: Path) -> list[Path]:
    """What the configuration's file sinks write to."""
    return [sink.path for sink in _configured(config).audit.sinks if sink.type == "file"]


def paths_of(files: tuple[Path, ...], config: Path) -> list[Path]:
    """The files given, or those of the configuration with everything that was rotated."""
    if files:
        return list(files)
    found = [
        path
        for current in current_files(config)
        for path in sorted(current.parent.glob(f"{current.stem}*{current.suffix}*"))
    ]
    if not found:
        raise click.UsageError(f"name the files: {config} has no file sink, or nothing was written")
    return found


@contextmanager
def reading_bar(
    files: Sequence[AuditFile], *, hidden: bool = False
) -> Iterator[Callable[[int], None]]:
    """Progress on standard error, where that is a terminal; it is told of bytes read."""
    with click.progressbar(
        length=sum(file.size() for file in files),
        label="Reading",
        file=sys.stderr,
        hidden=hidden or not sys.stderr.isatty(),
    ) as bar:
        yield bar.update


class Troubles:
    """Tells on standard error what could not be read, once it is met."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, place: Place, what: str) -> None:
        """An unfinished line is what a crash leaves, or is being written: no trouble."""
        self.count += what != "an unfinished line"
        click.secho(f"{place}: {what}", fg="yellow", err=True)

    def look_into(self, paths: list[Path]) -> list[AuditFile]:
        """The files that can be read at all."""
        files, unreadable = look_into(paths)
        for error in unreadable:
            self.unreadable(error)
        return files

    def unreadable(self, error: Unreadable) -> None:
        """A whole file."""
        self.count += 1
        click.secho(f"{error.path}: {error.why}", fg="yellow", err=True)

    def exit_code(self, found: int) -> int:
        """2 where anything could not be read, else 1 where nothing was found."""
        if self.count:
            return UNREADABLE
        return FOUND if found else NOTHING
