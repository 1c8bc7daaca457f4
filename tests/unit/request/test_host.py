"""Values of a Host field: the corpus of heads has most of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.host import is_valid_host


@pytest.mark.parametrize("value", [b"a", b"a_b", b"localhost:0", b"a.", b"[::]", b"[::1]:65535"])
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(value: bytes) -> None:
    assert is_valid_host(value)


@pytest.mark.parametrize(
    "value", [b"a:", b"a:65536", b"a:123456", b"-a", b"a-", b".", b"[]", b"[::1", b"[::1]x", b"a\n"]
)
def test_what_is_nearly_a_host_is_none(value: bytes) -> None:
    assert not is_valid_host(value)


@given(st.binary(max_size=30))
def test_nothing_that_could_move_an_authority_is_a_host(value: bytes) -> None:
    if is_valid_host(value):
        assert not set(value) & set(b"/@?#\\%, \t\r\n\0")
