"""(operation, path value, query) -> the bytes that slurmrestd is sent, or Denied.

Nothing of what the client sent is copied: the target is written anew from the template and the
checked values. Each character outside RFC 3986's unreserved set is percent-encoded, in the path and
in the query alike. That is the one form that Slurm 20.11.4, 22.05.8, 24.11.5 and 26.05.5 were all
seen to read, and to read as that character: they refuse `, : @ = [ ] / ( ) * ! $ |` where they stand
raw, and take a raw "+" in a query for a blank.
"""

from urllib.parse import quote

from gateway.denial import Denied, Reason
from gateway.model import Risk
from gateway.slurm_api.catalogue import VersionedOperation
from gateway.slurm_api.kinds import Kind, is_read_as_another

Query = tuple[tuple[str, str], ...]
"""Decoded (name, value) pairs, as Target has them."""

_NOTED_CHARACTERS = 200


def raised_risk(call: VersionedOperation, query: Query) -> Risk:
    """The class of the operation, or the one that a query parameter raises it to.

    The name alone raises, whatever the value: 24.11.5 and 26.05.5 read any text but "false", "0"
    and nothing as true.
    """
    for name, _ in query:
        known = call.query.get(name)
        if known is not None and known.raises is not None:
            return known.raises
    return call.entry.operation.risk


def write_target(call: VersionedOperation, value: str, query: Query) -> bytes:
    """Check each parameter by its kind and write the canonical target, names in alphabetical order.

    Raises Denied: QUERY_UNLISTED for a name that the operation does not know in this version,
    PARAMETER_INVALID for a value of the wrong kind or that slurmrestd would read as another, a
    repeated name or a missing condition.
    """
    path = call.before
    parameter = call.entry.parameter
    if parameter is not None:
        _check(parameter.name, value, parameter.kind)
        if is_read_as_another(value):
            raise _ambiguous(parameter.name)
        path = f"{path}{quote(value, safe='')}{call.after}"
    if not query:
        if call.entry.needs_condition:
            raise _without_condition(call)
        return path.encode("ascii")
    if len({name for name, _ in query}) != len(query):
        raise Denied(Reason.PARAMETER_INVALID, detail="A query parameter is given twice.")
    fields = [field for name, text in sorted(query) for field in _fields(call, name, text)]
    return f"{path}?{'&'.join(fields)}".encode("ascii")


def _fields(call: VersionedOperation, name: str, value: str) -> list[str]:
    known = call.query.get(name)
    if known is None:
        raise _unlisted(call, name)
    _check(name, value, known.kind)
    written = quote(name, safe="")
    items = value.split(",") if known.kind.repeats else (value,)
    return [f"{written}={quote(item, safe='')}" for item in items]


def _check(name: str, value: str, kind: Kind) -> None:
    if not kind.accepts(value):
        # the value itself may be a secret in the wrong place; the audit redacts those of a query
        note = f"{name}: {len(value)} characters that are not {kind.meaning}"
        raise Denied(Reason.PARAMETER_INVALID, note, detail=f"{name} must be {kind.meaning}.")


def _ambiguous(name: str) -> Denied:
    detail = (
        f"{name} is a text that slurmrestd would read as another number, as a switch or as null."
    )
    return Denied(Reason.PARAMETER_INVALID, f"{name}: read as another", detail=detail)


def _unlisted(call: VersionedOperation, name: str) -> Denied:
    known = ", ".join(sorted(call.query)) or "none"
    where = f"{call.entry.operation.name} in {call.version_text}"
    if call.entry.operation.takes_body:
        known += " (slurmrestd reads the body instead)"
    return Denied(
        Reason.QUERY_UNLISTED,
        name[:_NOTED_CHARACTERS],
        detail=f"{name[:64]} is not known for {where}. Known: {known}.",
    )


def _without_condition(call: VersionedOperation) -> Denied:
    known = ", ".join(sorted(call.query))
    detail = f"Without a condition this would reach every record. Give one of: {known}."
    return Denied(Reason.PARAMETER_INVALID, detail=detail)
