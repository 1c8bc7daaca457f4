"""The key that tokens are hashed with for the audit."""

import stat
from pathlib import Path

import pytest

from gateway.edges.hash_key import load_or_create_hash_key


def test_the_key_is_made_once_private_and_random(tmp_path: Path) -> None:
    path = tmp_path / "hash.key"
    key = load_or_create_hash_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_hash_key(path) == key
    assert load_or_create_hash_key(tmp_path / "other.key") != key


def test_a_key_that_was_cut_short_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hash.key"
    path.write_bytes(b"short")
    with pytest.raises(OSError, match="5 bytes instead of 32"):
        load_or_create_hash_key(path)
    assert path.read_bytes() == b"short"
