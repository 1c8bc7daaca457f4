"""(the last lines, newest first; what else is remembered) -> where the chain goes on, and what a crash left open."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from gateway.audit.chain import MAC_BYTES, Chain, ChainKey, mac_of
from gateway.audit.lines import WHO

_MARK = b',"mac":"'
_MOST_EPOCHS = 1_000_000
_TELLING_OLDEST = frozenset({"start", "head"})
"""Lines that say from which line on requests were under way."""
_TELLING_EPOCH = frozenset({"start", "head", "key"})


class Tip(NamedTuple):
    """The last line, as it is remembered beside the lines."""

    seq: int
    epoch: int
    mac: bytes
    chain: str


class Past(NamedTuple):
    """What the files tell. `previous_mac` is None where the last line is the only one to be found."""

    chain: str
    seq: int
    mac: bytes
    covered: bytes
    previous_mac: bytes | None
    epoch: int
    """Of the line to come."""
    sealed_epoch: int
    """Of the last line; one less where that moved the key on."""
    open: tuple[dict[str, Any], ...]
    """The first lines of requests that have no last one, the oldest first."""


class Resumed(NamedTuple):
    """Where the chain goes on. `problem` is what does not fit; the file is then left as it is."""

    chain: Chain
    open: tuple[dict[str, Any], ...]
    problem: str


class NoLine(Exception):
    """The newest line is no line of a chain."""


def read_past(lines: Iterable[bytes]) -> Past | None:
    """Go back as far as requests were under way; None where there is no line. Raises NoLine."""
    reading = _Reading()
    for line in lines:
        members = _members(line)
        if members is None:
            if reading.newest is None:
                raise NoLine(line[:80].decode("ascii", "replace"))
            break
        if reading.take(members, line):
            break
    return reading.past()


class _Reading:
    """Lines of one chain, read backwards."""

    def __init__(self) -> None:
        self.newest: dict[str, Any] | None = None
        self._covered = b""
        self._previous_mac: bytes | None = None
        self._ended: set[str] = set()
        self._begun: list[dict[str, Any]] = []
        self._epoch = 0
        self._oldest = 0

    def take(self, members: dict[str, Any], line: bytes) -> bool:
        """Whether this is enough."""
        if self.newest is None:
            self.newest, self._covered = members, line.rpartition(_MARK)[0]
        elif self._previous_mac is None:
            self._previous_mac = bytes.fromhex(members["mac"])
        self._note_request(members["event"], members)
        if members["event"] in _TELLING_EPOCH:
            self._epoch = max(self._epoch, members["epoch"])
        if members["event"] in _TELLING_OLDEST and not self._oldest:
            self._oldest = members["oldest"]
        is_enough = self._oldest > 0 and members["seq"] <= self._oldest
        return is_enough and self._previous_mac is not None

    def _note_request(self, event: str, members: dict[str, Any]) -> None:
        if event == "begin" and members["request_id"] not in self._ended:
            self._begun.append(members)
        elif event in ("end", "lost-end"):
            self._ended.add(members["request_id"])

    def past(self) -> Past | None:
        last = self.newest
        if last is None:
            return None
        return Past(
            last["chain"],
            last["seq"],
            bytes.fromhex(last["mac"]),
            self._covered,
            self._previous_mac,
            self._epoch,
            self._epoch - (last["event"] == "key"),
            tuple(reversed(self._begun)),
        )


_KINDS: dict[str, tuple[tuple[str, type], ...]] = {
    "begin": (("request_id", str),),
    "end": (("request_id", str),),
    "lost-end": (("request_id", str),),
    "start": (("epoch", int), ("oldest", int)),
    "head": (("epoch", int), ("oldest", int)),
    "key": (("epoch", int),),
}
_EVERY = (("seq", int), ("chain", str), ("event", str), ("mac", str))


def _members(line: bytes) -> dict[str, Any] | None:
    """A line as far as it is needed here; None for what the gateway has not written like this."""
    try:
        members = json.loads(line)
        kinds = _EVERY + _KINDS.get(members["event"], ())
        is_line = all(isinstance(members[name], kind) for name, kind in kinds)
        is_line = is_line and len(bytes.fromhex(members["mac"])) == MAC_BYTES
    except (ValueError, KeyError, TypeError):
        return None
    return members if is_line else None


def resume(key: ChainKey, past: Past | None, tip: Tip | None) -> Resumed:
    """Go on after the last line that anything knows of, so that a gap stays to be seen."""
    if tip is not None and tip.chain != key.chain:
        tip = None
    if past is None:
        known = tip.seq if tip else 0
        problem = f"the lines up to {known} are not in it" if known or key.epoch else ""
        return Resumed(_at(_moved(key, tip.epoch if tip else 0), tip), (), problem)
    if past.chain != key.chain:
        return Resumed(_at(key, tip), past.open, f"its lines are of the chain {past.chain}")
    now = _moved(key, max(past.epoch, tip.epoch if tip else 0))
    problem = _misfit(key, past, tip)
    chain = _at(now, tip) if problem and tip else Chain(now, past.seq, past.mac)
    return Resumed(chain, past.open, problem)


def _moved(key: ChainKey, epoch: int) -> ChainKey:
    if epoch - key.epoch > _MOST_EPOCHS:
        raise ValueError(
            f"the audit's last lines name the key {epoch}, and this one is {key.epoch}"
        )
    while key.epoch < epoch:
        key = key.following()
    return key


def _misfit(key: ChainKey, past: Past, tip: Tip | None) -> str:
    """What somebody has done to the last lines while nobody wrote; a key that is forgotten proves nothing."""
    if tip is not None and tip.seq > past.seq:
        return f"the lines {past.seq + 1} to {tip.seq} are not in it"
    told = f"its last line, {past.seq}, is not as it was written"
    if tip is not None and tip.seq == past.seq and tip.mac != past.mac:
        return told
    if past.previous_mac is None or past.sealed_epoch < key.epoch:
        return ""
    sealed = _moved(key, past.sealed_epoch)
    return "" if mac_of(sealed.key, past.previous_mac, past.covered) == past.mac else told


def _at(key: ChainKey, tip: Tip | None) -> Chain:
    return Chain(key) if tip is None else Chain(key, tip.seq, tip.mac)


def lost_end(begin: dict[str, Any]) -> dict[str, object]:
    """The closing record of a request whose process ended before it did: what is known of it, and that."""
    told: dict[str, object] = {name: begin.get(name, "") for name in WHO}
    return {
        **told,
        "verdict": begin.get("verdict", ""),
        "code": "gateway-ended",
        "rule": begin.get("rule", ""),
        "note": "the gateway ended before the request did; what came of it is not known",
        "job_ids": begin.get("job_ids", []),
        "began": begin.get("time", ""),
        "begin_seq": begin["seq"],
        "complete": False,
    }
