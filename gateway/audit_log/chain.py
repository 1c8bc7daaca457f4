"""The initial key of a chain -> the key of each epoch, and the MAC of each line.

Written apart from the code that makes the lines, so that one mistake does not hide another: the format is
in docs/audit-reading.md. A MAC is the first half of HMAC-SHA256 (RFC 2104).
"""

import hashlib
import hmac

MAC_BYTES = 16
KEY_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256, RFC 2104 section 2
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_FIRST = b"slurm-gateway audit chain v1"
_NEXT = b"slurm-gateway audit key v1"


def first_mac(chain: str) -> bytes:
    """What the first line of a chain follows: 16 bytes made from the chain's id."""
    return hashlib.sha256(_FIRST + chain.encode("ascii")).digest()[:MAC_BYTES]


class LineKey:
    """HMAC with one key. Its two first blocks are hashed once; a line costs two copies of the state."""

    __slots__ = ("inner", "outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self.inner = hashlib.sha256(padded.translate(_INNER_PAD))
        self.outer = hashlib.sha256(padded.translate(_OUTER_PAD))

    def mac(self, previous: bytes, body: bytes) -> bytes:
        r"""The MAC of a line whose bytes before `,"mac":"` are `body`."""
        inner = self.inner.copy()
        inner.update(previous + body)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:MAC_BYTES]


class Ladder:
    """The keys of all epochs of one chain, made from the first as far as they are asked for."""

    def __init__(self, initial: bytes) -> None:
        self._keys = [initial]

    def __repr__(self) -> str:
        return f"Ladder({len(self._keys)} keys)"

    def raw(self, epoch: int) -> bytes:
        """The 32 bytes of an epoch's key."""
        keys = self._keys
        while len(keys) <= epoch:
            keys.append(hmac.digest(keys[-1], _NEXT + len(keys).to_bytes(8, "big"), "sha256"))
        return keys[epoch]

    def key(self, epoch: int) -> LineKey:
        """Ready to check many lines."""
        return LineKey(self.raw(epoch))

    def fits(self, epoch: int, previous: bytes, body: bytes, mac: bytes) -> bool:
        """Whether a line has this MAC under the key of this epoch. Nobody learns from its duration."""
        return hmac.digest(self.raw(epoch), previous + body, "sha256")[:MAC_BYTES] == mac
