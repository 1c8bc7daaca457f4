"""(name) -> a number that every write raises, for all processes that share a store.

For caches: an answer is used only while the number is the one that it was fetched under.
"""

from hashlib import blake2b
from typing import Final

from gateway.edges.store import Store, StoreAway

USE: Final = "generations"
_HASH_BYTES: Final = 16
_SECONDS: Final = 86_400
"""Longer than anything is kept for; a name that is forgotten then has no answers left."""
_ADVANCE: Final = """
local number = redis.call('incr', KEYS[1])
for place = 2, #KEYS do redis.call('set', KEYS[place], number, 'EX', ARGV[1]) end
return number
"""
"""One counter for all names, so that no number comes twice for any."""


class SharedGenerations:
    """Neither method raises an exception. While the store is away every question gets a number of its own.

    A write that could not be told is told with the next question after the store is back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = store.client.register_script(_ADVANCE)
        self._strange = 0
        self._untold: set[str] = set()

    async def of(self, name: str) -> int:
        """0 as long as nobody has written."""
        key = self._key(name)
        try:
            if self._untold:
                await self._tell()
            return int(await self._store.ask(USE, lambda: self._store.client.get(key)) or 0)
        except StoreAway:
            self._strange -= 1
            return self._strange

    def at_once(self, name: str) -> int | None:  # noqa: ARG002 (whichever name it is)
        """Never: the store has to be waited for."""
        return None

    async def advance(self, name: str) -> None:
        """Whoever asks from now on is told another number."""
        self._untold.add(self._key(name))
        try:
            await self._tell()
        except StoreAway:
            return

    async def _tell(self) -> None:
        told = set(self._untold)
        keys = [f"{self._store.prefix}:generations", *told]
        await self._store.run(USE, self._script, keys, [_SECONDS])
        self._untold -= told

    def _key(self, name: str) -> str:
        data = name.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=_HASH_BYTES).hexdigest()
        return f"{self._store.prefix}:generation:{digest}"
