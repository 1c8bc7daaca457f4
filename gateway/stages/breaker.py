"""(what became of earlier calls to a daemon of Slurm) -> may it be asked now, or Denied?

A slurmrestd whose slurmctld is down says so after nine seconds, and three calls that wait for that keep
26.05 from answering anybody (measured). So after the first such answer nobody waits any more, but for
one call now and then that finds out whether it is over.
"""

from enum import Enum
from math import ceil

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Clock

_LONGEST_PAUSE_SECONDS = 60.0
_CONTROLLER = frozenset({"1800", "1801", "1802", "1803"})
"""slurm_errno.h: slurmctld cannot be reached, or breaks off."""
_DATABASE = frozenset({"7000"})
"""The same of slurmdbd: ESLURM_DB_CONNECTION."""
_FIRST_SERVER_ERROR = 500
_DOUBTS = 3
"""So many calls without an answer, one after the other: a single one may be that call's own fault."""


class Daemon(Enum):
    """Who answers a call in the end."""

    SLURMCTLD = "slurmctld"
    SLURMDBD = "slurmdbd"


def daemon_of(call: AuthorizedCall) -> Daemon | None:
    """None for what slurmrestd answers by itself."""
    template = call.operation.template
    if template.startswith("/slurm/"):
        return Daemon.SLURMCTLD
    return Daemon.SLURMDBD if template.startswith("/slurmdb/") else None


def says_daemon_is_away(status: int, codes: tuple[str, ...], daemon: Daemon | None = None) -> bool:
    """Whether slurmrestd itself has found nobody behind it: this daemon, or any if None.

    `codes` are those of the answer's errors. A slurmctld that names an error of slurmdbd has answered.
    """
    away = _CONTROLLER if daemon is Daemon.SLURMCTLD else _CONTROLLER | _DATABASE
    return status >= _FIRST_SERVER_ERROR and not away.isdisjoint(codes)


class Course:
    """What is known of one daemon. `until` is when the next call may try; None while it is thought well."""

    def __init__(self, pause_seconds: float) -> None:
        self._first_pause_seconds = pause_seconds
        self.well()

    def well(self) -> None:
        """It has answered."""
        self.doubts = 0
        self.until: float | None = None
        self.pause_seconds = self._first_pause_seconds
        self.is_probed = False

    @property
    def is_well(self) -> bool:
        """Nothing is held against it: calls need not be watched one by one."""
        return self.until is None and not self.doubts


class Breaker:
    """Opens at once where it is certain, at the third doubt otherwise; each pause is twice the one before."""

    def __init__(self, pause_seconds: float, monotonic: Clock) -> None:
        self._monotonic = monotonic
        self._courses = {daemon: Course(pause_seconds) for daemon in Daemon}
        self.openings = dict.fromkeys(Daemon, 0)
        """Times that calls began to be refused; a probe that fails begins nothing."""
        self.refusals = dict.fromkeys(Daemon, 0)

    def course_of(self, call: AuthorizedCall) -> Course | None:
        """It stays the same object. None for what slurmrestd answers by itself."""
        daemon = daemon_of(call)
        return None if daemon is None else self._courses[daemon]

    def is_open(self, daemon: Daemon) -> bool:
        """Whether calls are refused, but for a probe."""
        return self._courses[daemon].until is not None

    def check(self, call: AuthorizedCall) -> None:
        """Raises Denied where `admit` would."""
        daemon = daemon_of(call)
        course = self._courses[daemon] if daemon is not None else None
        if daemon is None or course is None or course.until is None:
            return
        left = course.until - self._monotonic()
        if left > 0 or course.is_probed:
            self.refusals[daemon] += 1
            raise _away(daemon, max(left, 1.0))

    def admit(self, call: AuthorizedCall) -> None:
        """One of `succeeded`, `failed`, `doubted` and `given_up` has to follow. Raises Denied."""
        self.check(call)
        daemon = daemon_of(call)
        if daemon is not None and self._courses[daemon].until is not None:
            self._courses[daemon].is_probed = True

    def succeeded(self, call: AuthorizedCall) -> None:
        """The daemon has answered, whatever it said."""
        daemon = daemon_of(call)
        if daemon is not None:
            course = self._courses[daemon]
            if not course.is_well:
                course.well()

    def failed(self, call: AuthorizedCall) -> None:
        """It is certain that nobody answers."""
        daemon = daemon_of(call)
        if daemon is not None:
            self._open(daemon)

    def doubted(self, call: AuthorizedCall) -> None:
        """slurmrestd was not reached, was silent, or broke off."""
        daemon = daemon_of(call)
        if daemon is None:
            return
        course = self._courses[daemon]
        course.doubts += 1
        if course.is_probed or course.doubts >= _DOUBTS:
            self._open(daemon)

    def given_up(self, call: AuthorizedCall) -> None:
        """Nothing was learnt."""
        daemon = daemon_of(call)
        if daemon is not None:
            self._courses[daemon].is_probed = False

    def _open(self, daemon: Daemon) -> None:
        now, course = self._monotonic(), self._courses[daemon]
        self.openings[daemon] += course.until is None
        if course.until is not None and not course.is_probed:
            return  # one of those that were sent before it was known
        course.until = now + course.pause_seconds
        course.pause_seconds = min(2 * course.pause_seconds, _LONGEST_PAUSE_SECONDS)
        course.is_probed = False


def _away(daemon: Daemon, seconds: float) -> Denied:
    return Denied(
        Reason.SLURM_UNAVAILABLE,
        f"{daemon.value} did not answer lately",
        headers=(("Retry-After", str(ceil(seconds))),),
    )
