"""Files of the state directory -> the chain's key of now, and the number and MAC of its last line."""

import json
import mmap
import os
import struct
from pathlib import Path

from gateway.audit.chain import KEY_BYTES, ChainKey
from gateway.audit.recovery import Tip
from gateway.edges.audit_commit import GroupCommit

KEY_FILE = "audit-chain.key"
TIP_FILE = "audit-chain.tip"
INITIAL_KEY_FILE = "audit-initial.key"
_SLOT = struct.Struct("=QQ16s16sQ")
_SLOT_BYTES = 64
_TIP_BYTES = 4096


class KeyFileInvalid(OSError):
    """The key file is there, but holds no key. A new one would hide that something is wrong."""


class ChainState:
    """One chain's key and tip.

    The tip is memory shared with a file: noting a line costs no system call, and the kernel keeps it
    when the process is killed. Two slots are written in turns, each closed by its number, so that one
    of them is whole at any moment.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key: ChainKey | None = None
        self._saving = GroupCommit(self._save_now)
        self._chain = b""
        self._tip = _map(directory / TIP_FILE)
        self._slot = max(self._slots().items(), key=lambda slot: slot[1][0])[0]

    def load(self) -> ChainKey | None:
        """The key; None where there is none yet. Raises OSError, KeyFileInvalid."""
        try:
            text = (self._directory / KEY_FILE).read_bytes()
        except FileNotFoundError:
            return None
        key = _parse(text, self._directory / KEY_FILE)
        self._chain = bytes.fromhex(key.chain)
        return key

    def write(self, key: ChainKey) -> None:
        """Replace the key in one step, on disk when this returns. Raises OSError."""
        write_key(self._directory / KEY_FILE, key)
        self._chain = bytes.fromhex(key.chain)

    async def save(self, key: ChainKey) -> None:
        """The same without keeping anybody waiting for the disk. Raises OSError."""
        self._key = key
        await self._saving.wait()

    def _save_now(self) -> None:
        if self._key is not None:
            self.write(self._key)

    def note(self, seq: int, epoch: int, mac: bytes) -> None:
        """The last line."""
        self._slot ^= _SLOT_BYTES  # never the one of the line that was noted before
        _SLOT.pack_into(self._tip, self._slot, seq, epoch, mac, self._chain, seq)

    def read_tip(self) -> Tip | None:
        """The last line that was noted."""
        whole = [slot for slot in self._slots().values() if slot[0] and slot[0] == slot[4]]
        if not whole:
            return None
        seq, epoch, mac, chain, _ = max(whole)
        return Tip(seq, epoch, mac, chain.hex())

    def _slots(self) -> dict[int, tuple[int, int, bytes, bytes, int]]:
        return {place: _SLOT.unpack_from(self._tip, place) for place in (0, _SLOT_BYTES)}

    @property
    def is_initial_key_here(self) -> bool:
        """Whether the initial key, which the gateway has made by itself, still lies beside the chain's."""
        return (self._directory / INITIAL_KEY_FILE).exists()

    def close(self) -> None:
        """End the thread; the tip stays in its file."""
        self._saving.close(lambda: None)
        self._tip.flush()


def write_key(path: Path, key: ChainKey, *, is_new: bool = False) -> None:
    """0600, on disk, and never half. `is_new`: raise FileExistsError rather than replace anything."""
    members = {"chain": key.chain, "epoch": key.epoch, "key": key.key.hex()}
    target = path if is_new else path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    flags |= os.O_EXCL if is_new else os.O_TRUNC
    descriptor = os.open(target, flags, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(members) + "\n")
        file.flush()
        os.fsync(descriptor)
    if not is_new:
        target.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _parse(text: bytes, path: Path) -> ChainKey:
    try:
        members = json.loads(text)
        key = ChainKey(members["chain"], members["epoch"], bytes.fromhex(members["key"]))
        is_key = len(key.key) == KEY_BYTES and len(bytes.fromhex(key.chain)) == KEY_BYTES // 2
        is_key = is_key and isinstance(key.epoch, int)
    except (ValueError, KeyError, TypeError):
        is_key = False
    if not is_key:
        raise KeyFileInvalid(22, "holds no key of an audit chain", str(path))
    return key


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.posix_fallocate(descriptor, 0, _TIP_BYTES)  # a page without blocks would end the process
        return mmap.mmap(descriptor, _TIP_BYTES)
    finally:
        os.close(descriptor)


def forget_tip(directory: Path) -> None:
    """A new chain begins at its first line."""
    (directory / TIP_FILE).unlink(missing_ok=True)
