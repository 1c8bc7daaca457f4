"""What several workers tell, told as one."""

import pytest

from gateway.web.all_workers import summarize_all

WELL = {"ready": True, "parts": {"keys": {"ok": True, "detail": {"age": 3}}}}
ILL = {"ready": False, "parts": {"keys": {"ok": False, "detail": {"age": 9}}}}


@pytest.mark.parametrize(
    ("told", "ready", "keys_ok", "silent"),
    [
        ({1: WELL, 2: WELL}, True, True, []),
        ({1: WELL, 2: ILL}, False, False, []),
        ({1: WELL, 2: {}}, False, True, [2]),
    ],
)
def test_the_gateway_is_ready_if_every_worker_is(
    told: dict[int, dict[str, object]], ready: bool, keys_ok: bool, silent: list[int]
) -> None:
    is_ready, parts = summarize_all(told)
    assert is_ready is ready
    keys = parts["keys"]
    assert isinstance(keys, dict)
    assert keys["ok"] is keys_ok
    assert keys["detail"]["1"] == {"age": 3}
    assert parts["workers"] == {"ok": not silent, "detail": {"silent": silent}}


def test_without_any_worker_it_is_not() -> None:
    assert not summarize_all({})[0]
