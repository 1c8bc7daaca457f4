"""Files of the audit, keys and kept heads -> what was tampered with, on the terminal or as JSON."""

import json
import sys
import time
from pathlib import Path

import click

from gateway.audit_log.findings import ChainVerdict, Finding, Kind, numbers
from gateway.audit_log.heads import Head, read_head, read_kept
from gateway.audit_log.verify import Verdict
from gateway.audit_log.verify import verify as verify_files
from gateway.commands.audit_key import read_key_file
from gateway.commands.logs import escape

SOUND, TAMPERED, UNREADABLE = 0, 1, 2
_MEGABYTE = 1_000_000


def _heads_given(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[Head]:
    try:
        return [read_head(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(
    epilog="""\b
Examples:
  slurm-gateway audit verify --key-file /media/key/audit-key.json /var/log/slurm-gateway/audit*
  slurm-gateway audit verify --key-file key.json --head 48211:9f0c…e1 audit-*.jsonl.gz audit.jsonl
  slurm-gateway audit verify --key-file key.json --heads-file /var/log/remote/gateway-audit.log audit*
\b
Exit codes:
  0  sound: every line follows from the one before, and every kept head is where it belongs
  1  something was changed, taken out, put in, moved or cut off
  2  wrong usage, or a file that could not be read to its end
"""
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key-file",
    "key_files",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="The initial key, as `audit init` gave it to you. Once for each chain.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="SEQ:MAC",
    callback=_heads_given,
    help="A head that you have kept elsewhere: whatever is cut off before it is found.",
)
@click.option(
    "--heads-file",
    "head_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Heads in a file: one SEQ:MAC a line, or audit lines as a remote sink has kept them.",
)
@click.option("--from-start", is_flag=True, help="Line 1 of each chain has to be there, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def verify(
    files: tuple[Path, ...],
    key_files: tuple[Path, ...],
    heads: list[Head],
    head_files: tuple[Path, ...],
    *,
    from_start: bool,
    as_json: bool,
) -> None:
    """Find every edit, deletion, insertion and reordering in the audit's files.

    FILES may come in any order, plain or compressed with gzip, of several chains, and with the file that
    is being written. It goes on behind what it finds, so that everything is told at once.

    Nobody can tell from the files alone whether lines were cut off at their end: keep a head elsewhere (a
    remote sink, the metric of the operations listener) and give it with --head.
    """
    keys = dict(read_key_file(path) for path in key_files)
    kept = [*heads, *(head for path in head_files for head in _read_heads(path))]
    begun = time.monotonic()
    total = sum(path.stat().st_size for path in files if path.is_file())
    with click.progressbar(
        length=total, label="Verifying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        verdict = verify_files(files, keys, kept, bar.update, from_start=from_start)
    seconds = time.monotonic() - begun
    (_print_json if as_json else _print)(verdict, seconds)
    sys.exit(exit_code(verdict))


def exit_code(verdict: Verdict) -> int:
    """Tampering weighs more than what could not be read."""
    if verdict.all_findings:
        return TAMPERED
    return UNREADABLE if verdict.unreadable else SOUND


def _read_heads(path: Path) -> list[Head]:
    try:
        with path.open("rb") as file:
            return read_kept(file)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--heads-file") from error
    except ValueError as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--heads-file") from error


def _print_json(verdict: Verdict, seconds: float) -> None:
    document = {
        "sound": verdict.is_sound,
        "files": verdict.files,
        "lines": verdict.line_count,
        "bytes": verdict.byte_count,
        "seconds": round(seconds, 3),
        "chains": [
            {
                "chain": chain.chain,
                "lines": chain.lines,
                "first_seq": chain.first_seq,
                "last_seq": chain.last_seq,
                "first_time": chain.first_time,
                "last_time": chain.last_time,
                "last_head": chain.last_head,
                "heads_found": chain.heads_found,
                "remarks": chain.remarks,
            }
            for chain in verdict.chains
        ],
        "findings": [finding.as_json() for finding in verdict.all_findings],
        "remarks": verdict.remarks,
        "unreadable": [
            {"file": str(one.path), "last_line_read": one.line, "why": one.why}
            for one in verdict.unreadable
        ],
        "cannot_be_known": _unknown(verdict),
    }
    click.echo(json.dumps(document, indent=2))


def _print(verdict: Verdict, seconds: float) -> None:
    for chain in verdict.chains:
        _print_chain(chain)
    if verdict.findings or verdict.remarks:
        click.secho("Files", bold=True)
        for remark in verdict.remarks:
            _say("!", "yellow", remark)
        for finding in verdict.findings:
            _say("✗", "red", _told(finding))
    for one in verdict.unreadable:
        where = f" after line {one.line}" if one.line else ""
        _say("✗", "red", f"{one.path} cannot be read{where}: {one.why}")
    click.secho("What this cannot know", bold=True)
    for unknown in _unknown(verdict):
        _say("–", None, unknown)
    _print_end(verdict, seconds)


def _print_chain(chain: ChainVerdict) -> None:
    click.secho(f"Chain {chain.chain}", bold=True)
    if chain.first_seq:
        span = f"{chain.first_time} to {chain.last_time}"
        mark = ("✓", "green") if not chain.findings else ("!", "yellow")
        _say(*mark, f"{numbers(chain.first_seq, chain.last_seq)}, {span}")
        _say(*mark, f"{chain.lines} lines are genuine")
    for head in chain.heads_found:
        _say("✓", "green", f"head {head} is where it belongs")
    for remark in chain.remarks:
        _say("!", "yellow", remark)
    for finding in chain.findings:
        _say("✗", "red", _told(finding))


def _told(finding: Finding) -> str:
    """file:line: line 7 (time) was changed."""
    place = f"{finding.place}: " if finding.place else ""
    time_said = f" ({finding.time})" if finding.time else ""
    if finding.kind is Kind.MISSING and finding.time:
        time_said = f" (before {finding.time})"
    seqs = numbers(finding.first_seq, finding.last_seq)
    if not finding.first_seq or finding.kind is Kind.UNKNOWN_CHAIN:
        return f"{place}{finding.text}"
    return f"{place}{seqs}{time_said}: {finding.text}"


def _unknown(verdict: Verdict) -> list[str]:
    found: list[str] = []
    for chain in verdict.chains:
        if chain.last_head < chain.last_seq or not chain.last_head:
            kept = f"the last kept head, {chain.last_head}" if chain.last_head else "any kept head"
            found.append(
                f"whether lines behind {chain.last_seq} were cut off: that is behind {kept}"
            )
        if chain.first_seq > 1:
            found.append(f"lines 1 to {chain.first_seq - 1}: they lie before the first given")
    found += verdict.uncheckable
    found.append("whether the gateway wrote the truth, and what was done by whoever had its key")
    return found


def _say(mark: str, colour: str | None, text: str) -> None:
    click.echo(f"  {click.style(mark, fg=colour)} {escape(text)}")


def _print_end(verdict: Verdict, seconds: float) -> None:
    speed = verdict.byte_count / _MEGABYTE / max(seconds, 1e-6)
    read = (
        f"{verdict.line_count} lines in {verdict.files} file{'s' if verdict.files != 1 else ''},"
        f" {verdict.byte_count / _MEGABYTE:.1f} MB, {seconds:.1f} s, {speed:.0f} MB/s"
    )
    count = len(verdict.all_findings)
    if count:
        plural = "s" if count != 1 else ""
        click.echo(f"\n{click.style('Tampered with', fg='red')}: {count} finding{plural}. {read}.")
    elif verdict.unreadable:
        click.echo(f"\n{click.style('Not all could be read', fg='red')}. {read}.")
    else:
        click.echo(f"\n{click.style('Sound', fg='green')}. {read}.")
