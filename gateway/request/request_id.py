"""Random bytes -> request ids of 128 bits in hexadecimal, drawn from the kernel for many at once."""

import os

_DIGITS = 32
_DRAWN_BYTES = 4096


class RequestIds:
    """A system call for each id costs as much as several stages. What was drawn is used once."""

    __slots__ = ("_left", "_pool")

    def __init__(self) -> None:
        self._pool = ""
        self._left = 0

    def __call__(self) -> str:
        """The next one."""
        return self.draw()

    def draw(self) -> str:
        """The same, for whoever calls it most: a bound method costs a third of an object that is called."""
        end = self._left
        if not end:
            self._pool = os.urandom(_DRAWN_BYTES).hex()
            end = len(self._pool)
        self._left = start = end - _DIGITS
        return self._pool[start:end]
