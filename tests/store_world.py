"""A real Valkey or Redis server -> a Store of a test's own, and the settings that name it."""

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.edges.store import Store
from gateway.edges.store_client import ERRORS, PasswordFile, connect_to
from lab.store import USER, StoreServer, program
from lab.toml_text import Settings

PATIENT_SECONDS = 30.0
"""For tests of what the store does, on a machine that may be busy."""


def require_program() -> None:
    """Skip by name where there is none."""
    if program() is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")


@contextmanager
def running_store(folder: Path) -> Iterator[StoreServer]:
    """A server that is stopped in the end."""
    require_program()
    server = StoreServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def new_store(
    server: StoreServer,
    *,
    timeout_seconds: float = PATIENT_SECONDS,
    retry_seconds: float = 0.05,
    connections: int = 16,
) -> AsyncIterator[Store]:
    """A client with keys of its own."""
    client = connect_to(
        f"unix:{server.socket}",
        credentials=PasswordFile("", server.password_file),
        connections=connections,
    )
    store = Store(
        client,
        f"test-{uuid.uuid4().hex}",
        errors=ERRORS,
        timeout_seconds=timeout_seconds,
        retry_seconds=retry_seconds,
        monotonic=time.monotonic,
    )
    try:
        yield store
    finally:
        await store.close()


def settings_of(server: StoreServer, **more: object) -> Settings:
    """What a gateway's configuration says of it."""
    section = {
        "address": f"unix:{server.socket}",
        "user": USER,
        "password_file": str(server.password_file),
        "timeout_seconds": 5.0,
        "retry_seconds": 0.1,
    }
    return {"store": {**section, **more}}
