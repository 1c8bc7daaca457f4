"""No answer fills the memory of the machine that asked."""

import gzip
import json
from collections.abc import Iterator

import pytest

from gateway.client.asking import Gateway, open_http
from gateway.client.place import Place
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, scripted_gateway

PATH = "/slurm/v0.0.42/jobs"
LONG = {"jobs": ["x" * 1000] * 3000}


@pytest.fixture
def site() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


def ask(site: ScriptedGateway, most_bytes: int) -> object:
    with open_http(None, 5, most_bytes) as http:
        gateway = Gateway(Place(site.url), http, lambda refused="": "token-of-a-test")
        return gateway.ask("GET", PATH).content


def test_an_answer_that_is_too_long_is_one_sentence(site: ScriptedGateway) -> None:
    site.tell(f"GET {PATH}", Told(200, LONG))
    assert ask(site, len(json.dumps(LONG))) == LONG
    with pytest.raises(Trouble, match="more than 2 MiB") as raised:
        ask(site, 2 * 1024**2)
    assert raised.value.code is Exit.UNREADABLE_ANSWER
    assert "ask for less" in raised.value.remedy


def test_a_small_answer_that_would_grow_is_not_unpacked(site: ScriptedGateway) -> None:
    packed = gzip.compress(json.dumps(LONG).encode())
    told = Told(200, packed, headers={"Content-Encoding": "gzip"})
    site.tell(f"GET {PATH}", told)
    with pytest.raises(Trouble, match="compressed") as raised:
        ask(site, 2 * 1024**2)
    assert raised.value.code is Exit.UNREADABLE_ANSWER
    assert site.heard[0].headers["accept-encoding"] == "identity"
