"""What became of reads that may be kept -> counts of one process, for its metrics."""

from collections import Counter

PASSED = "passed"
"""slurmrestd's answer was no 200, or too large to be kept."""


class CacheCounts:
    """Plain integers: one thread serves. They outlive a reload, so that they never go back."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """By Sighting.outcome, or PASSED."""
        self.not_modified = 0
        self.calls = 0
        """Of slurmrestd, for all of these."""
