"""(mode, output, gateway's arguments) -> the gateway served in this process, with a profile at its end.

`python -m benchmarks.profiled_server samples|calls OUTPUT serve --config FILE`. Nothing in the
gateway knows of it.
"""

import cProfile
import importlib
import pstats
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

from gateway.cli import main

INTERVAL_SECONDS = 0.001
FUNCTIONS = 45


class Sampler:
    """Where the main thread is, each millisecond of its CPU time.

    A signal handler runs between two byte codes: time in C code counts for the Python function
    that comes next, mostly its caller. Cheap enough to leave the proportions alone.
    """

    def __init__(self) -> None:
        self.own: Counter[CodeType] = Counter()
        self.with_callees: Counter[CodeType] = Counter()

    def take(self, _number: int, frame: FrameType | None) -> None:
        """Count the function that runs, and every one that waits for it once."""
        if frame is None:
            return
        self.own[frame.f_code] += 1
        self.with_callees.update({caller.f_code for caller in _stack(frame)})

    def tables(self) -> str:
        """Return the functions with the most time of their own, then those with all they call."""
        head = f"{self.own.total()} samples"
        return "\n\n".join(
            [head, self._table("own", self.own), self._table("total", self.with_callees)]
        )

    def _table(self, order: str, counts: Counter[CodeType]) -> str:
        total = self.own.total() or 1
        lines = [f"by {order}", "  own  total  function"]
        for code, _ in counts.most_common(FUNCTIONS):
            own, whole = self.own[code] / total * 100, self.with_callees[code] / total * 100
            place = f"{_short(code.co_filename)}:{code.co_firstlineno}"
            lines.append(f"{own:5.1f}% {whole:5.1f}% {code.co_qualname} ({place})")
        return "\n".join(lines)


@contextmanager
def sampled(output: Path) -> Iterator[None]:
    """Write the sampler's table at the end."""
    sampler = Sampler()
    signal.signal(signal.SIGPROF, sampler.take)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        output.write_text(sampler.tables() + "\n")


@contextmanager
def counted(output: Path) -> Iterator[None]:
    """Write cProfile's table at the end: exact counts, times swollen by the counting."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        with output.open("w") as file:
            pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(FUNCTIONS)


def _stack(frame: FrameType) -> Iterator[FrameType]:
    above: FrameType | None = frame
    while above is not None:
        yield above
        above = above.f_back


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


if __name__ == "__main__":
    mode, output, *arguments = sys.argv[1:]
    importlib.import_module("gateway.commands.serve")  # imports are no part of serving
    with {"samples": sampled, "calls": counted}[mode](Path(output)):
        main(arguments, standalone_mode=False)
