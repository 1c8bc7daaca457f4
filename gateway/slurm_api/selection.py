"""(query, operation) -> what of a list its client wants, and the query that slurmrestd gets; (item) -> is it wanted?

Names of items differ between versions; each is looked for under all names that it has in any.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway.denial import Denied, Reason
from gateway.model import Selection
from gateway.slurm_api.cursor import read_cursor
from gateway.slurm_api.kinds import KINDS

PREFIX: Final = "gateway."
"""No parameter of slurmrestd's has a name with a point in it."""
MOST_ITEMS: Final = 10_000
_MOST_FIELDS: Final = 64
_MOST_DEPTH: Final = 8

JOB_STATES: Final = (
    "PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL",
    "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "LAUNCH_FAILED", "REQUEUED", "REQUEUE_HOLD",
    "SPECIAL_EXIT", "RESIZING", "CONFIGURING", "COMPLETING", "STOPPED", "RECONFIG_FAIL", "POWER_UP_NODE",
    "REVOKED", "REQUEUE_FED", "RESV_DEL_HOLD", "SIGNALING", "STAGE_OUT", "EXPEDITING",
)  # fmt: skip
NODE_STATES: Final = (
    "UNKNOWN", "DOWN", "IDLE", "ALLOCATED", "ERROR", "MIXED", "FUTURE", "INVALID", "RESERVED", "UNDRAIN",
    "CLOUD", "RESUME", "DRAIN", "COMPLETING", "NOT_RESPONDING", "POWERED_DOWN", "FAIL", "POWERING_UP",
    "MAINTENANCE", "REBOOT_REQUESTED", "REBOOT_CANCELED", "POWERING_DOWN", "DYNAMIC_FUTURE", "DYNAMIC_NORM",
    "PLANNED", "REBOOT_ISSUED", "INVALID_REG", "POWER_DOWN", "POWER_UP", "POWER_DRAIN", "BLOCKED",
    "EXTERNAL", "PERFCTRS",
)  # fmt: skip

Paths = tuple[tuple[str, ...], ...]


class Listing(NamedTuple):
    """One list operation: the member that holds the items, what tells them apart, and where filters look."""

    member: str
    identity: str
    places: Mapping[str, Paths]
    states: tuple[str, ...] = ()


_JOB_PLACES: Final = {
    "user": (("user_name",), ("user",), ("association", "user")),
    "state": (("job_state",), ("state", "current")),
    "partition": (("partition",),),
    "account": (("account",), ("association", "account")),
}
_JOBS: Final = Listing("jobs", "job_id", _JOB_PLACES, JOB_STATES)
_NODE_PLACES: Final = {"state": (("state",), ("state_flags",)), "partition": (("partitions",),)}
_ASSOCIATION_PLACES: Final = {name: ((name,),) for name in ("user", "account", "partition")}
LISTINGS: Final[Mapping[str, Listing]] = MappingProxyType(
    {
        "GET /slurm/*/jobs": _JOBS,
        "GET /slurmdb/*/jobs": _JOBS,
        "GET /slurm/*/nodes": Listing("nodes", "name", _NODE_PLACES, NODE_STATES),
        "GET /slurm/*/partitions": Listing("partitions", "name", {}),
        "GET /slurm/*/reservations": Listing("reservations", "name", {}),
        "GET /slurmdb/*/users": Listing("users", "name", {}),
        "GET /slurmdb/*/accounts": Listing("accounts", "name", {}),
        "GET /slurmdb/*/associations": Listing("associations", "id", _ASSOCIATION_PLACES),
    }
)
"""By Operation.name."""
_NAMES: Final = KINDS["names"]
_KINDS: Final = {
    "user": KINDS["users"],
    "account": KINDS["accounts"],
    "partition": _NAMES,
    "state": KINDS["words"],
}


Query = tuple[tuple[str, str], ...]


def take_selection(operation: str, query: Query) -> tuple[Selection | None, Query]:
    """The gateway's own parameters of a list operation, and the rest.

    Raises Denied: QUERY_UNLISTED for a name that is none here, PARAMETER_INVALID for a value.
    """
    own = {name[len(PREFIX) :]: value for name, value in query if name.startswith(PREFIX)}
    if not own:
        return None, query
    listing, known = LISTINGS.get(operation), parameters_of(operation)
    unknown = [name for name in own if name not in known]
    if listing is None or unknown:
        raise _unlisted(PREFIX + unknown[0], [PREFIX + one for one in known])
    selection = Selection(
        operation,
        _fields(own["fields"]) if "fields" in own else (),
        tuple((name, _values(name, own[name], listing)) for name in sorted(own) if name in _KINDS),
        _limit(own["limit"]) if "limit" in own else 0,
        _cursor(own["cursor"]) if "cursor" in own else None,
    )
    return selection, tuple(pair for pair in query if not pair[0].startswith(PREFIX))


def parameters_of(operation: str) -> tuple[str, ...]:
    """Without the prefix."""
    listing = LISTINGS.get(operation)
    return () if listing is None else (*listing.places, "fields", "limit", "cursor")


def _fields(text: str) -> Paths:
    paths = tuple(tuple(path.split(".")) for path in text.split(","))
    if len(paths) > _MOST_FIELDS or any(len(path) > _MOST_DEPTH or "" in path for path in paths):
        raise _invalid("fields", f"up to {_MOST_FIELDS} fields such as job_id,time.start")
    return paths


def _values(name: str, text: str, listing: Listing) -> frozenset[str]:
    kind = _KINDS[name]
    if not kind.accepts(text):
        raise _invalid(name, kind.meaning)
    if name != "state":
        return frozenset(text.split(","))
    states = frozenset(text.upper().split(","))
    if not states <= set(listing.states):
        raise _invalid(name, f"one or several of {', '.join(listing.states)}")
    return states


def _limit(text: str) -> int:
    if not KINDS["number"].accepts(text) or not 0 < int(text) <= MOST_ITEMS:
        raise _invalid("limit", f"a number from 1 to {MOST_ITEMS}")
    return int(text)


def _cursor(text: str) -> tuple[int, str]:
    cursor = read_cursor(text)
    if cursor is None:
        raise _invalid("cursor", "the Gateway-Cursor of an answer to the same request")
    return cursor


def _invalid(name: str, meaning: str) -> Denied:
    detail = f"{PREFIX}{name} must be {meaning}."
    return Denied(Reason.PARAMETER_INVALID, f"{PREFIX}{name}", detail=detail)


def _unlisted(name: str, known: list[str]) -> Denied:
    detail = f"{name[:64]} is not known here. Known: {', '.join(known) or 'none'}."
    return Denied(Reason.QUERY_UNLISTED, name[:64], detail=detail)


# items


def texts_at(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """All texts at a place: one, those of a list, or those of a list with commas."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, str):
            yield from one.split(",")


class Matcher:
    """Whether items are wanted. `own_uid` stands for the user `own_name` where an item has no name (20.11)."""

    def __init__(self, selection: Selection, own_name: str, own_uid: int | None) -> None:
        listing = LISTINGS[selection.operation]
        self._tests: list[Callable[[dict[str, Any]], bool]] = []
        for name, wanted in selection.wanted:
            places = listing.places[name]
            if name == "user":
                uids = {int(one) for one in wanted if one.isdecimal()}
                if own_name in wanted and own_uid is not None:
                    uids.add(own_uid)
                self._tests.append(_user_test(places, wanted, uids))
            else:
                self._tests.append(_test(places, wanted, in_capitals=name == "state"))

    def __call__(self, item: dict[str, Any]) -> bool:
        """Every filter, and within one any of its values."""
        return all(test(item) for test in self._tests)


def _test(
    places: Paths, wanted: frozenset[str], *, in_capitals: bool
) -> Callable[[dict[str, Any]], bool]:
    def test(item: dict[str, Any]) -> bool:
        for place in places:
            for text in texts_at(item, place):
                if (text.upper() if in_capitals else text) in wanted:
                    return True
        return False

    return test


def _user_test(
    places: Paths, wanted: frozenset[str], uids: set[int]
) -> Callable[[dict[str, Any]], bool]:
    def test(item: dict[str, Any]) -> bool:
        names = {text for place in places for text in texts_at(item, place) if text}
        if names:
            return not names.isdisjoint(wanted)
        uid = item.get("user_id")
        return isinstance(uid, int) and uid in uids

    return test


def identity_of(listing: Listing, item: dict[str, Any]) -> str:
    """What the item is called, "" where it has no name."""
    value = item.get(listing.identity)
    return str(value) if isinstance(value, str | int) else ""
