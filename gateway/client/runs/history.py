"""`history` -> what the accounting knows, as sacct prints it."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict

import click

from gateway.client.arrays import whole_id
from gateway.client.choosing import Choice
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.own_name import own_user
from gateway.client.record import Record, read_records
from gateway.client.tables import print_table
from gateway.client.trouble import Exit, Trouble
from gateway.client.values import duration, moment
from gateway.client.when import since

_FIRST_WITH_USERS = 39
_NOTHING_FOUND = (9003, 2017)
COLUMNS = ("JobID", "JobName", "Partition", "Account", "AllocCPUS", "State", "ExitCode")
LONG_LISTING = (*COLUMNS, "User", "Submit", "Start", "End", "Elapsed")


def run(
    options: Options,
    choice: Choice,
    *,
    everybody: bool,
    starttime: str | None,
    endtime: str | None,
    jobs_only: bool,
    is_long: bool,
    heading: bool,
) -> int:
    """0, also where nothing is found."""
    now = time.time()
    first = since(starttime or "today", now)
    last = since(endtime, now) if endtime else now
    with open_cluster(options) as cluster:
        users = choice.users
        if not users and not everybody and not choice.job_ids:
            users = frozenset({own_user(cluster.gateway).name})
        records = (
            _read_named(cluster, choice.job_ids)
            if choice.job_ids
            else _read(cluster, first, sorted(users))
        )
    found = [one for one in records if _fits(one, choice, users) and _within(one, last)]
    shown = [step for one in found for step in (one[:1] if jobs_only else one)]
    if options.as_json:
        click.echo(json.dumps([asdict(one) for one in shown], indent=2))
        return Exit.DONE
    columns = LONG_LISTING if is_long else COLUMNS
    print_table(columns, [_row(one)[: len(columns)] for one in shown], heading=heading)
    return Exit.DONE


def _read(cluster: Cluster, first: float, users: list[str]) -> list[list[Record]]:
    """A job and its steps each. `utsSECONDS` is the one form of a time that all releases take (measured)."""
    asked = {"start_time": f"uts{max(1, int(first))}"}
    if users and cluster.number >= _FIRST_WITH_USERS:
        asked["users"] = ",".join(users)
    return _found(cluster, "/jobs", asked)


def _read_named(cluster: Cluster, job_ids: Iterable[str]) -> list[list[Record]]:
    """Each asked for by itself: the accounting holds years."""
    numbers = sorted({whole_id(one) for one in job_ids}, key=int)
    return [found for number in numbers for found in _found(cluster, f"/job/{number}", {})]


def _found(cluster: Cluster, path: str, asked: Mapping[str, str]) -> list[list[Record]]:
    try:
        content = cluster.get_accounting(path, asked).content
    except Trouble as trouble:
        if any(f"({code})" in trouble.sentence for code in _NOTHING_FOUND):
            return []
        raise
    return [read_records(one) for one in content.get("jobs") or []]


def _fits(records: list[Record], choice: Choice, users: frozenset[str]) -> bool:
    job = records[0]
    job_ids = {job.shown_id, job.job_id, whole_id(job.shown_id)}
    return all(
        not wanted or not wanted.isdisjoint(found)
        for wanted, found in (
            (users, {job.user}),
            (choice.states, {job.state}),
            (choice.partitions, {job.partition}),
            (choice.accounts, {job.account}),
            (choice.names, {job.name}),
            (choice.job_ids, job_ids),
        )
    )


def _within(records: list[Record], last: float) -> bool:
    return records[0].submitted <= last


def _row(one: Record) -> list[str]:
    return [
        one.shown_id,
        one.name,
        one.partition,
        one.account,
        str(one.cpus),
        one.state,
        one.exit_code,
        one.user,
        "" if one.is_step else moment(one.submitted),
        moment(one.started),
        moment(one.ended),
        duration(one.elapsed_seconds),
    ]
