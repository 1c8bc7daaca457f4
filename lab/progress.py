"""(step, duration) -> lines on standard error, so that no wait is silent."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 10.0
WORTH_A_LINE_SECONDS = 2.0


class Progress:
    """Lines such as ``[bookworm  12.3 s] installing packages``; several may be interleaved."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        elapsed = time.monotonic() - self._started
        sys.stderr.write(f"[{self._name} {elapsed:5.1f} s] {text}\n")
        sys.stderr.flush()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce a step, say every ten seconds that it still runs, and tell how long it took."""
        self.say(text)
        began = time.monotonic()
        finished = threading.Event()
        beat = threading.Thread(target=self._beat, args=(text, finished), daemon=True)
        beat.start()
        try:
            yield
        finally:
            finished.set()
            beat.join()
        took = time.monotonic() - began
        if took >= WORTH_A_LINE_SECONDS:
            self.say(f"{text}: done in {took:.1f} s")

    def _beat(self, text: str, finished: threading.Event) -> None:
        seconds = 0.0
        while not finished.wait(HEARTBEAT_SECONDS):
            seconds += HEARTBEAT_SECONDS
            self.say(f"{text}: still at it after {seconds:.0f} s")
