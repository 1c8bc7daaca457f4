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


class Probe:
    """The one call that finds out whether a daemon is back; it speaks for itself alone."""


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
        self.probe: Probe | None = None

    @property
    def is_well(self) -> bool:
        """Nothing is held against it: calls need not be watched one by one."""
        return self.until is None and not self.doubts

    def is_probed_by(self, probe: Probe | None) -> bool:
        """Whether this is the call that finds out, and not one that was sent before."""
        return probe is not None and probe is self.probe

    def wait(self, now: float) -> None:
        """Refuse calls for the pause, which will be twice as long the next time."""
        self.until = now + self.pause_seconds
        self.pause_seconds = min(2 * self.pause_seconds, _LONGEST_PAUSE_SECONDS)
        self.probe = None

    def wait_again(self, now: float) -> None:
        """For as long as at first, because the probe has told nothing."""
        self.until = now + self._first_pause_seconds
        self.probe = None


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
        if left > 0 or course.probe is not None:
            self.refusals[daemon] += 1
            raise _away(daemon, max(left, 1.0))

    def admit(self, call: AuthorizedCall) -> Probe | None:
        """`succeeded`, `failed`, `doubted` or `given_up` has to follow, with what is returned. Raises Denied."""
        self.check(call)
        course = self.course_of(call)
        if course is None or course.until is None:
            return None
        course.probe = Probe()
        return course.probe

    def succeeded(self, call: AuthorizedCall) -> None:
        """The daemon has answered, whatever it said."""
        daemon = daemon_of(call)
        if daemon is not None:
            course = self._courses[daemon]
            if not course.is_well:
                course.well()

    def failed(self, call: AuthorizedCall, probe: Probe | None = None) -> None:
        """It is certain that nobody answers."""
        daemon = daemon_of(call)
        if daemon is not None:
            self._open(daemon, probe)

    def doubted(self, call: AuthorizedCall, probe: Probe | None = None) -> None:
        """slurmrestd was not reached, was silent, or broke off."""
        daemon = daemon_of(call)
        if daemon is None:
            return
        course = self._courses[daemon]
        course.doubts += 1
        if course.is_probed_by(probe) or course.doubts >= _DOUBTS:
            self._open(daemon, probe)

    def given_up(self, call: AuthorizedCall, probe: Probe | None = None) -> None:
        """Nothing was learnt. slurmrestd may still wait for the daemon, so that the next one waits, too."""
        course = self.course_of(call)
        if course is not None and course.is_probed_by(probe):
            course.wait_again(self._monotonic())

    def _open(self, daemon: Daemon, probe: Probe | None) -> None:
        course = self._courses[daemon]
        self.openings[daemon] += course.until is None
        if course.until is None or course.is_probed_by(probe):
            course.wait(self._monotonic())


def _away(daemon: Daemon, seconds: float) -> Denied:
    return Denied(
        Reason.SLURM_UNAVAILABLE,
        f"{daemon.value} did not answer lately",
        headers=(("Retry-After", str(ceil(seconds))),),
    )
