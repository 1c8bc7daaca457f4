"""What clients sent and heard -> one account of it, kept by many threads."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock


@dataclass(frozen=True)
class Heard:
    """An answer that its client has read to the last byte. `job_id` is a submission's, 0 for others."""

    request_id: str
    kind: str
    status: int
    code: str
    job_id: int = 0


@dataclass
class Ledger:
    """`keys` are the Idempotency-Keys that were used, with the job that was acknowledged, or None."""

    heard: list[Heard] = field(default_factory=list)
    unheard: int = 0
    """Requests whose answer never came, or not to its end."""
    retried: set[str] = field(default_factory=set)
    keys: dict[str, int | None] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def hear(self, heard: Heard) -> None:
        """Note an answer."""
        with self._lock:
            self.heard.append(heard)

    def miss(self) -> None:
        """Note a request without an answer."""
        with self._lock:
            self.unheard += 1

    def use(self, key: str) -> None:
        """Note a key before its first use; at any later use it counts as retried."""
        with self._lock:
            if key in self.keys:
                self.retried.add(key)
            self.keys.setdefault(key, None)

    def settle(self, key: str, job_id: int) -> None:
        """Note the job that a key was acknowledged with."""
        with self._lock:
            self.keys[key] = job_id

    def statuses(self) -> Iterable[tuple[str, int, int]]:
        """(kind, status, how many), in order."""
        counts: dict[tuple[str, int], int] = {}
        for one in list(self.heard):
            counts[one.kind, one.status] = counts.get((one.kind, one.status), 0) + 1
        return [(kind, status, count) for (kind, status), count in sorted(counts.items())]
