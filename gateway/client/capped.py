"""An answer of somebody's -> the same, as long as it stays within a size that a client can hold."""

from collections.abc import Iterator

import httpx2

from gateway.client.trouble import Exit, Trouble

MOST_BYTES = 256 * 1024 * 1024
"""Some thirty thousand jobs of Slurm 24.11, which takes 8 kB for each."""


class Capped(httpx2.SyncByteStream):
    """Raises Trouble where it goes on for too long."""

    def __init__(self, inner: httpx2.SyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._most_bytes = most_bytes

    def __iter__(self) -> Iterator[bytes]:
        left = self._most_bytes
        for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise Trouble(
                    Exit.UNREADABLE_ANSWER,
                    f"The answer has more than {self._most_bytes // 1024**2} MiB, which the client does not take.",
                    "ask for less: for some jobs by their ids, or for a shorter time",
                )
            yield piece

    def close(self) -> None:
        """The connection's part."""
        self._inner.close()


def cap(response: httpx2.Response, most_bytes: int = MOST_BYTES) -> None:
    """To be called before the body is read. What is compressed unasked would be larger than it looks."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Trouble(
            Exit.UNREADABLE_ANSWER,
            "The answer is compressed, which nobody asked for.",
            "a proxy in between does that; ask its administrators to let answers pass as they are",
        )
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = Capped(response.stream, most_bytes)
