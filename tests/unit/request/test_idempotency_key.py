"""The value of Idempotency-Key: one reading or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.idempotency_key import MAXIMUM_KEY_CHARACTERS, read_key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b'"a b"', "a b"),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b"KG5LxwFBepaKHyUD", "KG5LxwFBepaKHyUD"),
        (b"a.b_c~d:e/f+g=@-", "a.b_c~d:e/f+g=@-"),
        (b'"' + b"x" * 255 + b'"', "x" * 255),
        (b'"' + b"\\\\" * 255 + b'"', "\\" * 255),
        (b"x" * 255, "x" * 255),
    ],
)
def test_a_string_and_a_bare_word_are_read(value: bytes, key: str) -> None:
    assert read_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b'""',
        b'"',
        b'"a',
        b'a"',
        b'"a"b"',
        b'"a";p=1',
        b'"a", "b"',
        b"a, b",
        b"a b",
        b"a;b",
        b"'a'",
        b'"a\\b"',
        b'"a\\"',
        b'"\x7f"',
        b'"\t"',
        b'"\xe9"',
        b"\xe9",
        b":YWJj:;",
        b"x" * 256,
        b'"' + b"x" * 256 + b'"',
        b'"' + b"\\\\" * 256 + b'"',
    ],
)
def test_anything_else_is_no_key(value: bytes) -> None:
    assert read_key(value) is None


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_every_printable_key_survives_its_quoting(key: str) -> None:
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    assert read_key(f'"{quoted}"'.encode()) == key


@given(st.binary(max_size=600))
def test_any_bytes_give_a_key_or_none(value: bytes) -> None:
    key = read_key(value)
    assert key is None or (1 <= len(key) <= MAXIMUM_KEY_CHARACTERS and key.isprintable())
