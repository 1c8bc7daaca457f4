"""KeyEntry -> a hash in the store that several processes share; as durable as the store's own settings make it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gateway.edges.store import Store, StoreAway, StoreRefuses
from gateway.stages.idempotency import Caps, KeyEntry, KeysExceeded, KeyStoreDoubt, StoredAnswer

USE: Final = "idempotency"
_SCRIPT: Final = Path(__file__).with_name("lua") / "keys.lua"
_PURGED_AT_ONCE: Final = 1000
"""In one step of the server: others wait for it."""


class SharedKeys:
    """The KeyStore of all processes. `problem` is what the last call failed with."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = store.client.register_script(_SCRIPT.read_text("utf-8"))
        self.problem = ""

    async def begin(self, fresh: KeyEntry, now: float, caps: Caps) -> KeyEntry:
        """See KeyStore."""
        try:
            held = await self._ask("begin", repr(now), caps.each, caps.in_all, *_told(fresh))
        except StoreRefuses as error:
            raise KeysExceeded(str(error).removeprefix("room: ")) from error
        return _entry(fresh.key_hash, held) if held else fresh

    async def begin_again(self, entry: KeyEntry) -> None:
        """See KeyStore."""
        await self._ask("begin_again", *_told(entry))

    async def finish(self, key_hash: str, answer: StoredAnswer) -> None:
        """See KeyStore."""
        told = (part for item in answer._asdict().items() for part in item)
        await self._ask("finish", key_hash, *told)

    async def forget(self, key_hash: str) -> None:
        """See KeyStore."""
        await self._ask("forget", key_hash)

    async def purge(self, now: float) -> int:
        """See KeyStore. In steps of a bounded size."""
        deleted = 0
        while True:
            some = int(await self._ask("purge", repr(now), _PURGED_AT_ONCE))
            deleted += some
            if some < _PURGED_AT_ONCE:
                return deleted

    async def _ask(self, what: str, *values: object) -> Any:
        arguments = [what, *values]
        try:
            answer = await self._store.run(USE, self._script, [self._store.prefix], arguments)
        except StoreAway as away:
            self.problem = f"the store cannot be used: {away}"
            raise KeyStoreDoubt(self.problem) from None
        self.problem = ""
        return answer


def _told(entry: KeyEntry) -> list[str]:
    """Its hash, whose it is and its end first, as the script wants them; then names and values in turn."""
    rest = {
        "fingerprint": entry.fingerprint,
        "marker": entry.marker,
        "user": entry.user,
        "request_id": entry.request_id,
        "holder": entry.holder,
        "begun": repr(entry.begun),
    }
    pairs = [part for item in rest.items() for part in item]
    return [entry.key_hash, entry.identity_hash, repr(entry.expires), *pairs]


def _entry(key_hash: str, pairs: Sequence[bytes]) -> KeyEntry:
    told = dict(zip((name.decode() for name in pairs[::2]), pairs[1::2], strict=True))
    return KeyEntry(
        key_hash,
        identity_hash=told["identity_hash"].decode(),
        fingerprint=told["fingerprint"].decode(),
        marker=told["marker"].decode(),
        user=told["user"].decode(),
        request_id=told["request_id"].decode(),
        holder=told["holder"].decode(),
        begun=float(told["begun"]),
        expires=float(told["expires"]),
        answer=_answer(told) if "status" in told else None,
    )


def _answer(told: dict[str, bytes]) -> StoredAnswer:
    media_type = told["media_type"].decode()
    return StoredAnswer(int(told["status"]), media_type, told["body"], int(told["job_id"]))
