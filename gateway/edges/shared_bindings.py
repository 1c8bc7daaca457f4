"""(issuer, subject, user) -> who first used the user, remembered in the store that several machines share.

A store that comes back empty has forgotten who is bound, which is what would let a second subject in. So
the bindings have a name, kept in the store and in a file of the state directory; where the two differ,
nobody is bound, and nobody let in, until somebody has removed the file.
"""

import json
import os
import secrets
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from gateway.edges.bindings import Remembered
from gateway.edges.store import Store, StoreAway, StoreRefuses
from gateway.stages.map_user import Binding, DirectoryDoubt

USE: Final = "bindings"
NAME_FILE: Final = "bindings.name"
_SCRIPT: Final = Path(__file__).with_name("lua") / "bindings.lua"
_HASH_BYTES: Final = 16


class SharedBindings:
    """The Bindings of all processes and machines."""

    def __init__(self, store: Store, state_directory: Path) -> None:
        self._store = store
        self._file = state_directory / NAME_FILE
        self._name = ""
        self._script = store.client.register_script(_SCRIPT.read_text("utf-8"))

    async def bind(self, wanted: Binding) -> Binding:
        """See Bindings. Raises DirectoryDoubt."""
        return await self._look("bind", wanted)

    async def peek(self, wanted: Binding) -> Binding:
        """What `bind` would answer, without remembering anything. Raises DirectoryDoubt."""
        if not self._name and not self._file.exists():
            known: bytes | None = await self._ask("known")
            if known is None:
                return wanted
            self._name = known.decode()
        return await self._look("peek", wanted)

    async def remembered(self) -> list[Remembered]:
        """All, by user. Raises DirectoryDoubt."""
        rows = [_row(one) for one in await self._ask("all")]
        return sorted(rows, key=lambda row: row.user)

    async def remove(self, issuer: str, subject: str) -> list[Remembered]:
        """Forget the subject; what was forgotten. Raises DirectoryDoubt."""
        return _rows(await self._ask("remove", _id(issuer, subject), ""))

    async def remove_user(self, user: str) -> list[Remembered]:
        """Forget whose the user is; what was forgotten. Raises DirectoryDoubt."""
        return _rows(await self._ask("remove", "", user))

    async def _look(self, what: str, wanted: Binding) -> Binding:
        bound_at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        row = json.dumps([*wanted, bound_at])
        subject = _id(wanted.issuer, wanted.subject)
        held = _row(await self._ask(what, subject, wanted.user, row))
        return Binding(held.issuer, held.subject, held.user)

    async def _ask(self, what: str, *values: str) -> Any:
        try:
            if not self._name and what != "known":
                self._name = await self._open()
            return await self._run(what, self._name, *values)
        except StoreAway as away:
            raise DirectoryDoubt(f"bindings cannot be looked up: {away}") from None
        except StoreRefuses as error:
            remedy = f"restore the store's data, or remove {self._file} to begin anew"
            raise DirectoryDoubt(f"{error}: {remedy}") from error
        except OSError as error:
            raise DirectoryDoubt(f"{self._file} cannot be used: {error.strerror}") from error

    async def _open(self) -> str:
        """The name that this machine knows, or the store's where it is new here."""
        if self._file.exists():
            return self._file.read_text("ascii").strip()
        name: bytes = await self._run("open", secrets.token_hex(16))
        draft = self._file.with_name(f".{NAME_FILE}.{secrets.token_hex(4)}")
        draft.write_text(f"{name.decode()}\n")
        owner = self._file.parent.stat()
        if owner.st_uid != os.geteuid():
            os.chown(draft, owner.st_uid, owner.st_gid)  # an admin's command was the first to ask
        draft.replace(self._file)
        return name.decode()

    async def _run(self, what: str, name: str, *values: str) -> Any:
        return await self._store.run(USE, self._script, [self._store.prefix], [what, name, *values])


def _id(issuer: str, subject: str) -> str:
    text = f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=_HASH_BYTES).hexdigest()


def _row(held: bytes) -> Remembered:
    return Remembered(*json.loads(held))


def _rows(held: bytes | None) -> list[Remembered]:
    return [] if held is None else [_row(held)]
