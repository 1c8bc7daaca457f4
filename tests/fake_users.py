"""One fake for each Protocol of map_user and credential; tests/contracts holds them to the real ones."""

import math
from collections.abc import Mapping

from gateway.model import Identity, Secret
from gateway.slurm_token import SlurmKey, SlurmToken
from gateway.stages.credential import CredentialDoubt, UserIds
from gateway.stages.map_user import Binding, DirectoryDoubt
from gateway.users.accounts import Account, Lookup
from gateway.users.rows import UserRows

ROOT = Account("root", 0, 0)
SLURM = Account("slurm", 64030, 64030)
ALICE = Account("alice", 1001, 1001, "Alice", "/home/alice", "/bin/bash")
BOB = Account("bob", 1002, 1002, "Bob", "/home/bob", "/bin/bash")
ACCOUNTS = (ROOT, SLURM, ALICE, BOB)
KEY_BYTES = b"k" * 32


class FakeDirectory:
    """Accounts in memory; answers are good until `valid_until`; `down` makes every question a doubt."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = {account.name: account for account in accounts or ACCOUNTS}
        self.valid_until = math.inf
        self.down = False
        self.asked: list[str] = []

    async def lookup(self, name: str) -> Lookup:
        self.asked.append(name)
        if self.down:
            raise DirectoryDoubt("the fake directory is down")
        return Lookup(self.accounts.get(name), self.valid_until)


class FakeBindings:
    """First uses in memory."""

    def __init__(self) -> None:
        self.held: list[Binding] = []
        self.down = False

    async def bind(self, wanted: Binding) -> Binding:
        if self.down:
            raise DirectoryDoubt("the fake bindings are down")
        for held in self.held:
            if held[:2] == wanted[:2] or held.user == wanted.user:
                return held
        self.held.append(wanted)
        return wanted


class FakeUserTable:
    """Rows that a test may replace."""

    def __init__(self, rows: UserRows) -> None:
        self.rows = rows

    def __call__(self) -> UserRows:
        return self.rows


class FakeSigningKey:
    """A key that a test may replace, or take away with None."""

    def __init__(self, key: SlurmKey | None = None) -> None:
        self.key: SlurmKey | None = key or SlurmKey(KEY_BYTES)

    async def __call__(self) -> SlurmKey:
        if self.key is None:
            raise CredentialDoubt("/etc/slurm/jwt_hs256.key cannot be read")
        return self.key


class FakeTokens:
    """The token of each user, or the one under "" for everybody."""

    def __init__(self, tokens: Mapping[str, SlurmToken]) -> None:
        self.tokens = dict(tokens)

    async def __call__(self, user: str) -> SlurmToken:
        token = self.tokens.get(user) or self.tokens.get("")
        if token is None:
            raise CredentialDoubt(f"there is no token for {user}")
        return token


class FakeIds:
    """The ids of the accounts, with two groups each."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = {account.name: account for account in accounts or ACCOUNTS}

    async def __call__(self, name: str) -> UserIds:
        account = self.accounts.get(name)
        if account is None:
            raise CredentialDoubt(f"{name} has no account to take ids from")
        return UserIds(account, (account.gid, 100))


class FixedName:
    """A NameSource that gives one text, checked or not, and counts its calls."""

    def __init__(self, name: str, *, may_change: bool = False) -> None:
        self.name = name
        self.may_change = may_change
        self.calls = 0

    async def __call__(self, identity: Identity) -> str:
        self.calls += 1
        return self.name


def make_token(user: str, expires: float) -> SlurmToken:
    return SlurmToken(Secret("canary-slurm-token"), user, expires)
