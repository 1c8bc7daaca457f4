"""Catalogue -> what people read: the table of `slurm-gateway operations` and its reference page."""

from collections.abc import Iterable, Sequence

from gateway.model import Risk
from gateway.slurm_api.catalogue import Catalogue, Entry, QueryParameter
from gateway.slurm_api.kinds import KINDS
from gateway.slurm_api.reading import Release
from gateway.slurm_api.versions import version_text

MEANINGS: tuple[tuple[Risk, str], ...] = (
    (Risk.READ, "reads that are cheap and show what every user of the cluster sees"),
    (Risk.READ_HEAVY, "reads whose answers are large or slow: job lists, histories, /openapi"),
    (
        Risk.READ_ACCOUNTING,
        "who has which account, association, key or cloud instance: about people and money",
    ),
    (Risk.READ_SENSITIVE, "daemon configuration, everybody's shares, job scripts, environments"),
    (Risk.READ_BULK, "the whole accounting database in one answer"),
    (Risk.SUBMIT, "runs code on the cluster as the caller"),
    (Risk.ALLOCATE, "takes resources that nothing gives back by itself"),
    (Risk.JOB_WRITE, "changes, signals, requeues or cancels one job, if Slurm lets the caller"),
    (Risk.JOB_WRITE_BULK, "the same for many jobs in one request"),
    (Risk.ACCT_JOB_WRITE, "changes job records in the accounting database"),
    (Risk.ADMIN, "changes the cluster or the accounting database"),
    (Risk.UTIL, "computes something from the request and reads nothing"),
    (Risk.MINT_TOKEN, "hands out a Slurm token, with which the user goes past this gateway"),
)
"""What each class means, in the order of the reference."""

_INTRODUCTION = (
    "Made from the gateway's own catalogue; do not edit. Only what stands here can be called, and"
    " only by roles that allow its class or its name. `*` is the API version. Releases add operations"
    " to older API versions as well, so an operation may be listed that your release does not have."
    " What is below `/gateway/` the gateway answers itself, by the same stages."
)
_ABOUT_QUERIES = (
    "A parameter that is not listed is refused. An operation that takes a body takes no query,"
    " because slurmrestd (since 23.11) would ignore it."
)
_COLUMNS = ("CLASS", "OPERATION", "VERSIONS", "WHAT")


def select(
    entries: Iterable[Entry], *, risk: Risk | None = None, version: int | None = None
) -> tuple[Entry, ...]:
    """The entries of a class, in a version. A class also selects what a parameter raises to it."""
    return tuple(
        entry
        for entry in entries
        if (risk is None or risk in risks_of(entry, version))
        and (version is None or entry.versions is None or entry.versions.covers(version))
    )


def risks_of(entry: Entry, version: int | None = None) -> set[Risk]:
    """The classes that a call of this operation can have."""
    raised = {
        one.raises
        for one in entry.query
        if one.raises is not None and (version is None or one.versions.covers(version))
    }
    return {entry.operation.risk, *raised}


def render_table(entries: Sequence[Entry]) -> str:
    """Aligned columns for a terminal, one line an operation; ends with a newline."""
    rows = [_COLUMNS, *(_cells(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def render_reference(catalogue: Catalogue, releases: Sequence[Release]) -> str:
    """The reference page in Markdown: classes, API versions, operations, parameters and kinds."""
    parts = [
        "# Operations of slurmrestd",
        _INTRODUCTION,
        "## Classes",
        _markdown(("class", "what it may do"), ([f"`{risk}`", text] for risk, text in MEANINGS)),
        "## API versions",
        _markdown(
            ("API version", "Slurm releases", "deprecated since"), map(_release_cells, releases)
        ),
        "## Operations",
        _markdown(
            ("operation", "class", "versions", "body", "what"),
            map(_markdown_cells, catalogue.entries),
        ),
        "## Query parameters",
        _ABOUT_QUERIES,
        _markdown(("operation", "parameter", "kind", "versions"), _query_rows(catalogue)),
        "## Kinds of parameters",
        _markdown(("kind", "must be"), ([f"`{k.name}`", k.meaning] for k in KINDS.values())),
    ]
    return "\n\n".join(parts) + "\n"


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    operation = entry.operation
    raised = "+" if len(risks_of(entry)) > 1 else ""
    return operation.risk + raised, operation.name, _versions(entry), operation.summary


def _versions(entry: Entry) -> str:
    return str(entry.versions) if entry.versions is not None else "unversioned"


def _release_cells(release: Release) -> Sequence[str]:
    served = f"{release.first} to {release.last}" if release.last else f"{release.first} and later"
    return [version_text(release.version), served, release.deprecated or "—"]


def _markdown_cells(entry: Entry) -> Sequence[str]:
    operation = entry.operation
    body = "yes" if operation.takes_body else "—"
    return [f"`{operation.name}`", operation.risk, _versions(entry), body, operation.summary]


def _query_rows(catalogue: Catalogue) -> Iterable[Sequence[str]]:
    for entry in catalogue.entries:
        for one in entry.query:
            name = f"`{entry.operation.name}`"
            yield [name, f"`{one.name}`", _kind_cell(one), str(one.versions)]


def _kind_cell(one: QueryParameter) -> str:
    return f"`{one.kind.name}`" + (f", makes it {one.raises}" if one.raises else "")


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
