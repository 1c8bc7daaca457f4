"""A configuration -> the application in this process, and clients of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from gateway.app import Generation, Workshop, build
from gateway.app_running import Application
from gateway.config.gateway import Gateway
from gateway.config.load import validate
from lab.toml_text import Settings, merged
from tests.configurations import usable

NOBODY: Settings = {"map_user": {"must_exist": False}}


def gateway_of(folder: Path, changes: Settings | None = None) -> Gateway:
    """Files that exist, users that are not looked up, and changes."""
    return validate(merged(usable(folder, NOBODY), changes or {}))


@asynccontextmanager
async def running(config: Gateway) -> AsyncIterator[Application]:
    """The application with a first generation in force."""
    application = Application({}, b"k" * 32)
    application.adopt(await application.prepare(config))
    try:
        yield application
    finally:
        await application.stop()


def client_of(application: Application) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=application, client=("192.0.2.7", 40000))
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def built(config: Gateway) -> Generation:
    return build(config, Workshop({}, b"k" * 32))


def client_of_operations(application: Application) -> httpx2.AsyncClient:
    """A client of its operations listener."""
    transport = httpx2.ASGITransport(app=application.operations())
    return httpx2.AsyncClient(transport=transport, base_url="http://operations")


async def parts_of(application: Application) -> dict[str, Any]:
    found = await client_of_operations(application).get("/readyz")
    return {"ready": found.status_code == 200, **found.json()["parts"]}
