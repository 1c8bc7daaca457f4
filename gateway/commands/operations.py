"""The catalogue, and perhaps a role of the configuration -> a table of operations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from gateway.commands.reporting import report_mistakes
from gateway.config.load import load
from gateway.config.problem import ConfigurationError, suggest
from gateway.model import Risk
from gateway.slurm_api import Catalogue, Entry, VersionRange, read_catalogue
from gateway.slurm_api.policy import Policy, parse_policy

_DANGEROUS = frozenset({Risk.ADMIN, Risk.JOB_WRITE_BULK, Risk.ACCT_JOB_WRITE})


class Row(NamedTuple):
    """One operation and the versions in which it passed the filters."""

    entry: Entry
    versions: tuple[int, ...]

    def as_json(self) -> dict[str, object]:
        """For programs; `versions` is empty for the unversioned documents."""
        operation = self.entry.operation
        return {
            "name": operation.name,
            "method": operation.method,
            "path": operation.template,
            "versions": [f"v0.0.{version}" for version in self.versions],
            "risk": operation.risk,
            "changes_state": operation.changes_state,
            "takes_body": operation.takes_body,
            "summary": operation.summary,
        }


def run(  # one parameter for each option
    config: Path,
    environ: Mapping[str, str],
    *,
    role: str | None,
    risk: str | None,
    api_version: str | None,
    as_json: bool,
) -> int:
    """Print what passes all filters; 1 when nothing does."""
    catalogue = read_catalogue()
    wanted = _risk_of(risk)
    version = _version_of(api_version)
    try:
        policy = _policy_of(config, environ, role, catalogue) if role is not None else None
    except ConfigurationError as error:
        report_mistakes(error, config)
        return 1
    rows = [
        row
        for row in _rows(catalogue, policy, role or "", version)
        if wanted is None or row.entry.operation.risk is wanted
    ]
    if as_json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        _print(rows)
    return 0 if rows else 1


def _risk_of(text: str | None) -> Risk | None:
    if text is None:
        return None
    try:
        return Risk(text.upper())
    except ValueError as error:
        known = [risk.value for risk in Risk]
        raise click.BadParameter(
            f"no such class; {suggest(text.upper(), known)}", param_hint="--risk"
        ) from error


def _version_of(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return VersionRange.parse(text).first
    except ValueError as error:
        raise click.BadParameter(
            "write an API version as v0.0.42", param_hint="--version"
        ) from error


def _policy_of(config: Path, environ: Mapping[str, str], role: str, catalogue: Catalogue) -> Policy:
    roles = load(config, environ).authorize.roles
    if role not in roles:
        raise click.BadParameter(f"no such role; {suggest(role, roles)}", param_hint="--role")
    return parse_policy(roles, catalogue)[0]


def _rows(
    catalogue: Catalogue, policy: Policy | None, role: str, version: int | None
) -> Iterator[Row]:
    """Whoever has a role also has "user", which is everybody's."""
    names = tuple(dict.fromkeys(["user", role]))
    for entry in catalogue.entries:
        calls = [
            call
            for call in catalogue.versions_of(entry)
            if (version is None or call.version == version)
            and (policy is None or policy.decide(names, call, entry.operation.risk).granted)
        ]
        if calls:
            yield Row(entry, tuple(call.version for call in calls if call.version is not None))


def _print(rows: Sequence[Row]) -> None:
    if not rows:
        click.echo("No operation passes these filters.", err=True)
        return
    lines = [(row.entry.operation, _shown(row.versions)) for row in rows]
    width = max(len(operation.name) for operation, _ in lines)
    for operation, versions in lines:
        colour = "red" if operation.risk in _DANGEROUS else None
        risk = click.style(f"{operation.risk:<16}", fg=colour)
        click.echo(f"{operation.name:<{width}}  {risk}{versions:<18} {operation.summary}".rstrip())
    click.echo(f"\n{len(rows)} operations. Whatever is not listed is refused.", err=True)


def _shown(versions: Sequence[int]) -> str:
    """Consecutive versions as ranges: "v0.0.35-38, 40"."""
    if not versions:
        return "unversioned"
    ranges: list[list[int]] = []
    for version in versions:
        if ranges and version == ranges[-1][1] + 1:
            ranges[-1][1] = version
        else:
            ranges.append([version, version])
    shown = [str(VersionRange(*one)).replace("v0.0.", "") for one in ranges]
    return f"v0.0.{', '.join(shown)}"
