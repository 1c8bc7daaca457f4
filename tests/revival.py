"""Daemons that have ended by themselves between two tests -> running ones, and a line for each in the run's summary.

slurmrestd 20.11 corrupts its heap now and then, and ends ("double free or corruption" in its log); all later tests on
that release failed for it.
"""

from __future__ import annotations

from typing import Protocol

import pytest

_REVIVED = "revived"


class Release(Protocol):
    """A SlurmRelease."""

    @property
    def name(self) -> str: ...

    def expected(self) -> list[str]: ...

    def running(self) -> list[str]: ...

    def up(self) -> object: ...


def revive(release: Release, test: pytest.Item) -> None:
    """Before a test."""
    running = release.running()
    ended = [name for name in release.expected() if name not in running]
    if ended:
        release.up()
        test.user_properties.append((_REVIVED, f"{', '.join(ended)} of {release.name}"))


def tell(reporter: pytest.TerminalReporter) -> None:
    """At the end of the run, whichever worker it was."""
    stats = reporter.stats
    for report in [*stats.get("passed", []), *stats.get("failed", [])]:
        for name, what in report.user_properties:
            if name == _REVIVED:
                reporter.write_line(f"{what} had ended before {report.nodeid}", yellow=True)
