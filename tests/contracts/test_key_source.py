"""Every source of keys keeps the same promises, wherever its keys come from."""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.edges.discovery import KeyEndpoint, trust
from gateway.edges.jwks import RemoteKeys
from gateway.edges.jwks_file import FileKeys
from gateway.stages.authenticate import KeySource
from tests.fakes import FakeClock
from tests.key_server import serving
from tests.tokens import FakeKeys, public_jwk, sign

ONE, TWO = public_jwk("oidc"), public_jwk("spare", kid="k2")


@dataclass
class Issuer:
    """A source, and the other side of it.

    `publish` changes the keys, and lets enough time go by for that to count.
    """

    source: KeySource
    publish: Callable[..., None]


@asynccontextmanager
async def fake(_folder: Path) -> AsyncIterator[Issuer]:
    source = FakeKeys(ONE)
    yield Issuer(source, source.publish)


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[Issuer]:
    path, clock = folder / "jwks.json", FakeClock(1_000.0)

    def publish(*jwks: dict[str, Any]) -> None:
        clock.advance(10)
        path.write_text(json.dumps({"keys": jwks}))
        os.utime(path, (clock.now, clock.now))
        clock.advance(5)

    publish(ONE)
    yield Issuer(FileKeys(path, clock), publish)


@asynccontextmanager
async def http(_folder: Path) -> AsyncIterator[Issuer]:
    async with serving() as server:
        clock = FakeClock()
        endpoint = KeyEndpoint(trust(None), server.url)
        source = RemoteKeys(
            endpoint, issuer=server.url, key_age_seconds=600, stale_key_seconds=3600, now=clock
        )

        def publish(*jwks: dict[str, Any]) -> None:
            server.publish(*jwks)
            clock.advance(600)

        yield Issuer(source, publish)
        await source.close()


@pytest.fixture(params=[fake, file, http], ids=lambda kind: kind.__name__)
async def issuer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Issuer]:
    opened: AbstractAsyncContextManager[Issuer] = request.param(tmp_path)
    async with opened as opened_issuer:
        yield opened_issuer


async def kids(issuer: Issuer, kid: str | None = None) -> list[str | None]:
    return [key.kid for key in await issuer.source.keys_for(kid)]


async def test_a_key_that_was_given_out_is_held_and_verifies(issuer: Issuer) -> None:
    (key,) = await issuer.source.keys_for("k1")
    assert issuer.source.holds(key.fingerprint)
    assert key.verifies("RS256", b"text", sign(b"text", "RS256", "oidc"))


async def test_an_unknown_kid_has_no_keys(issuer: Issuer) -> None:
    assert await kids(issuer, "k9") == []
    assert not issuer.source.holds("k9")


async def test_no_kid_asks_for_all_keys(issuer: Issuer) -> None:
    issuer.publish(ONE, TWO)
    assert await kids(issuer) == ["k1", "k2"]


async def test_a_new_key_is_found(issuer: Issuer) -> None:
    assert await kids(issuer, "k1") == ["k1"]
    issuer.publish(ONE, TWO)
    assert await kids(issuer, "k2") == ["k2"]


async def test_a_removed_key_is_neither_held_nor_given_out(issuer: Issuer) -> None:
    (key,) = await issuer.source.keys_for("k1")
    issuer.publish(TWO)
    assert await kids(issuer, "k1") == []
    assert not issuer.source.holds(key.fingerprint)


async def test_a_key_that_stays_is_still_held_beside_a_new_one(issuer: Issuer) -> None:
    (key,) = await issuer.source.keys_for("k1")
    issuer.publish(ONE, TWO)
    await issuer.source.keys_for(None)
    assert issuer.source.holds(key.fingerprint)


async def test_keys_that_cannot_be_used_are_left_out(issuer: Issuer) -> None:
    issuer.publish({**TWO, "use": "enc"}, ONE)
    assert await kids(issuer) == ["k1"]
