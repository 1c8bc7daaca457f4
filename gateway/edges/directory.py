"""A user name -> the account of it, by NSS: in a thread, within a time, remembered for a short while."""

import time
from collections.abc import Callable
from functools import partial

from gateway.edges.few_threads import FewThreads
from gateway.edges.nss import ask_groups, ask_passwd
from gateway.edges.one_flight import OneFlight
from gateway.stages.credential import CredentialDoubt, UserIds
from gateway.stages.map_user import DirectoryDoubt
from gateway.users.accounts import Account, Lookup


class NssDirectory:
    """A Directory. `threads` bounds what a hanging NSS can hold on to.

    `ask` is ask_passwd, or what stands for it: it may block, and raises OSError for no answer.
    """

    def __init__(
        self,
        threads: FewThreads,
        *,
        limit_seconds: float,
        cache_seconds: float,
        ask: Callable[[str], Account | None] = ask_passwd,
        monotonic: Callable[[], float] = time.monotonic,
        maximum_cached: int = 10_000,
    ) -> None:
        self._threads = threads
        self._limit_seconds = limit_seconds
        self._cache_seconds = cache_seconds
        self._ask = ask
        self._monotonic = monotonic
        self._maximum_cached = maximum_cached
        self._flight: OneFlight[str, Lookup] = OneFlight()
        self._cache: dict[str, Lookup] = {}
        self._problem = ""

    async def lookup(self, name: str) -> Lookup:
        """The account, or that there is none, asked for at most once in `cache_seconds`.

        Raises DirectoryDoubt when NSS takes too long or a service of it is down.
        """
        known = self._cache.get(name)
        if known is not None and self._monotonic() < known.valid_until:
            return known
        return await self._flight.join(name, partial(self._look_up, name))

    def state(self) -> str:
        """Why the last question had no answer; empty if it had one."""
        return self._problem

    async def _look_up(self, name: str) -> Lookup:
        try:
            account = await self._threads.run(self._limit_seconds, partial(self._ask, name))
        except TimeoutError as error:
            self._problem = f"NSS did not answer within {self._limit_seconds:g} s"
            raise DirectoryDoubt(self._problem) from error
        except OSError as error:
            self._problem = f"NSS cannot answer: {error.strerror}"
            raise DirectoryDoubt(self._problem) from error
        self._problem = ""
        lookup = Lookup(account, self._monotonic() + self._cache_seconds)
        self._remember(name, lookup)
        return lookup

    def _remember(self, name: str, lookup: Lookup) -> None:
        self._cache.pop(name, None)
        if len(self._cache) >= self._maximum_cached:
            del self._cache[next(iter(self._cache))]
        self._cache[name] = lookup


class NssIds:
    """A DescribeUser: the passwd entry of the directory and the groups of NSS."""

    def __init__(
        self,
        directory: NssDirectory,
        threads: FewThreads,
        *,
        limit_seconds: float,
        ask: Callable[[str, int], tuple[int, ...]] = ask_groups,
    ) -> None:
        self._directory = directory
        self._threads = threads
        self._limit_seconds = limit_seconds
        self._ask = ask

    async def __call__(self, name: str) -> UserIds:
        """Raises CredentialDoubt where NSS has no such user or no answer."""
        try:
            account = (await self._directory.lookup(name)).account
            if account is None:
                raise CredentialDoubt(f"{name} has no account to take ids from")
            gids = await self._threads.run(
                self._limit_seconds, partial(self._ask, name, account.gid)
            )
        except (DirectoryDoubt, OSError) as error:
            raise CredentialDoubt(f"the ids of {name} cannot be had: {error}") from error
        return UserIds(account, gids)
