"""(key, what a line says) -> the line with its number and its MAC, which covers the line before too.

Each MAC is the first half of HMAC-SHA256 (RFC 2104) over the previous MAC and the line. The key moves
forward by HMAC and the old one is forgotten, so that whoever takes a key today cannot forge yesterday.
"""

import hashlib
import hmac
from binascii import hexlify
from collections.abc import Iterable, Sequence
from typing import NamedTuple

KEY_BYTES = 32
MAC_BYTES = 16
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_SEAL = b',"mac":"'
_END = b'"}\n'
_FIRST = b"slurm-gateway audit chain v1"
_NEXT = b"slurm-gateway audit key v1"
_NAME = b"slurm-gateway audit chain id v1"


class ChainKey(NamedTuple):
    """The key of one epoch of one chain. Secret: `repr` shows none of it."""

    chain: str
    epoch: int
    key: bytes

    def __repr__(self) -> str:
        return f"ChainKey(chain={self.chain!r}, epoch={self.epoch}, key=…)"

    def following(self) -> "ChainKey":
        """The next epoch's key."""
        return self._replace(epoch=self.epoch + 1, key=next_key(self.key, self.epoch + 1))


def new_chain_key(random: bytes) -> ChainKey:
    """The first key of a new chain; the chain's id is made from it."""
    chain = hmac.digest(random, _NAME, "sha256")[:MAC_BYTES].hex()
    return ChainKey(chain, 0, random)


def first_mac(chain: str) -> bytes:
    """What stands for the MAC of the line before the first."""
    return hashlib.sha256(_FIRST + chain.encode("ascii")).digest()[:MAC_BYTES]


def next_key(key: bytes, epoch: int) -> bytes:
    """The key of `epoch`, from that of the epoch before."""
    return hmac.digest(key, _NEXT + epoch.to_bytes(8, "big"), "sha256")


def mac_of(key: bytes, previous: bytes, line: bytes) -> bytes:
    r"""The MAC of a line, which is given up to and not including `,"mac":"`."""
    return hmac.digest(key, previous + line, "sha256")[:MAC_BYTES]


class Chain:
    """Where one chain has come to. `seal` changes nothing; `advance` does, once a line is written."""

    __slots__ = ("_begin", "_inner", "_key", "_outer", "mac", "seq")

    def __init__(self, key: ChainKey, seq: int = 0, mac: bytes | None = None) -> None:
        self.seq = seq
        """The number of the last line."""
        self.mac = first_mac(key.chain) if mac is None else mac
        self.use(key)

    @property
    def key(self) -> ChainKey:
        """The key in force."""
        return self._key

    def use(self, key: ChainKey) -> None:
        """Seal with this key from now on. HMAC's two first blocks are hashed once, not for each line."""
        self._key = key
        padded = key.key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))
        self._begin = f'"chain":"{key.chain}",'

    def seal(self, bodies: Iterable[str]) -> tuple[list[bytes], list[bytes]]:
        """(the next lines, their MACs). A body is ASCII: the members between chain and mac."""
        seq, mac, begin = self.seq, self.mac, self._begin
        new_inner, new_outer = self._inner.copy, self._outer.copy
        lines, macs = [], []
        for body in bodies:
            seq += 1
            text = f'{{"seq":{seq},{begin}{body}'.encode()
            inner, outer = new_inner(), new_outer()
            inner.update(mac + text)
            outer.update(inner.digest())
            mac = outer.digest()[:MAC_BYTES]
            lines.append(b"".join((text, _SEAL, hexlify(mac), _END)))
            macs.append(mac)
        return lines, macs

    def advance(self, macs: Sequence[bytes]) -> None:
        """The first of the sealed lines, with these MACs, are written: one at least."""
        self.seq += len(macs)
        self.mac = macs[-1]
