"""A sign-in that was asked to be strong or recent: what comes back is held to it as the operations will hold it."""

from typing import Any

import pytest

from tests.sign_in_world import SESSION, World

NOW = 1_800_000_000


async def signs_in(asked: dict[str, str], claims: dict[str, Any]) -> bool:
    world = World()
    world.providers["campus"].claims = claims
    browser = world.browser()
    answer = await browser.get("/login", params={"at": "campus", "to": "/me", **asked})
    (state,) = world.providers["campus"].flows
    answer = await world.answer(browser, state)
    assert (answer.status_code == 200) is (SESSION in browser.cookies)
    return SESSION in browser.cookies


@pytest.mark.parametrize(
    ("auth_time", "is_enough"),
    [
        (NOW, True),
        (NOW - 900, True),
        (NOW - 901, False),
        (NOW + 60, True),
        (NOW + 61, False),
        (NOW * 1000, False),
        (str(NOW), False),
        (None, False),
    ],
)
async def test_a_sign_in_is_as_recent_as_the_operation_will_ask(
    auth_time: object, is_enough: bool
) -> None:
    """Whatever were taken here and not there would lead the browser round and round."""
    assert await signs_in({"max_age": "900"}, {"auth_time": auth_time}) is is_enough


@pytest.mark.parametrize(
    ("acr", "is_enough"),
    [("gold", True), ("silver", True), ("bronze", False), (["gold"], False), (None, False)],
)
async def test_a_sign_in_is_as_strong_as_the_operation_will_ask(
    acr: object, is_enough: bool
) -> None:
    assert await signs_in({"acr_values": "gold silver"}, {"acr": acr}) is is_enough
