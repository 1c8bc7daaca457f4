"""Findings -> a table for the terminal, soak/results.json, and its place in docs/reliability.md."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soak.findings import Findings

BEGIN = "<!-- soak:begin (make soak writes what stands between the marks) -->"
END = "<!-- soak:end -->"


class MarkersMissingError(Exception):
    """The document has no place for the table."""


def rows(found: Findings) -> list[tuple[str, str]]:
    """What was counted, and how much."""
    memory = f"{found.memory_before_bytes / 1e6:.1f} MB, {found.memory_after_bytes / 1e6:.1f} MB"
    return [
        ("requests answered", str(found.requests_answered)),
        ("requests whose answer was lost", str(found.requests_unanswered)),
        ("refused because the audit could not be written", str(found.refused_unrecorded)),
        ("requests acknowledged", str(found.acknowledged)),
        ("of these found in the audit", str(found.acknowledged_found)),
        ("submissions, each with a key of its own", str(found.submissions)),
        ("of these repeated after a lost answer or a refusal", str(found.submissions_retried)),
        ("of these acknowledged in the end", str(found.submissions_acknowledged)),
        ("of these without an outcome that the gateway knows", str(found.keys_unsettled)),
        ("jobs that ran", str(found.jobs_run)),
        ("jobs that Slurm lists, most of them held", str(found.jobs_listed)),
        ("keys with more than one job", str(len(found.ran_twice))),
        ("acknowledged submissions whose record lacks the job", str(len(found.jobs_not_in_audit))),
        ("`audit verify` over all of it", "sound" if not found.fault_of_chain else "CHANGED"),
        ("memory at rest, before and after the faults", memory),
    ]


def as_text(found: Findings) -> str:
    """Two columns, then the statuses, then what must not have happened."""
    table = rows(found)
    width = max(len(name) for name, _ in table)
    lines = [f"{name.ljust(width)}  {value}" for name, value in table]
    counts = ", ".join(f"{kind} {status}: {count}" for kind, status, count in found.statuses)
    named = [found.fault_of_chain, *found.not_in_audit, *found.jobs_not_in_audit, *found.ran_twice]
    return "\n".join([*lines, f"answers: {counts}", *(f"  {one}" for one in named[:40])])


def as_markdown(found: Findings, run: Sequence[str]) -> str:
    """The generated part of docs/reliability.md; `run` says how it was made."""
    verdict = "; ".join(found.failures()) or "none"
    return "\n".join(
        [
            *(f"- {line}" for line in run),
            "",
            "| counted | |",
            "|---|---:|",
            *(f"| {name} | {value} |" for name, value in rows(found)),
            "",
            f"Promises broken: {verdict}.",
        ]
    )


def write_results(path: Path, found: Findings, run: Sequence[str]) -> None:
    """All of it, for programs."""
    content: dict[str, Any] = {"run": list(run), **asdict(found), "failures": found.failures()}
    path.write_text(json.dumps(content, indent=1) + "\n")


def write_between_markers(document: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between two marks; refuse a document without them."""
    before, has_begin, rest = document.read_text().partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise MarkersMissingError(f"{document} lacks the marks {begin} and {end}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
