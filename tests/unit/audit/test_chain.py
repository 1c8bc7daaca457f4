"""The chain: numbers without gaps, MACs over everything before, keys that only move forward."""

import hashlib
import hmac
import json

import pytest

from gateway.audit.chain import Chain, first_mac, mac_of, new_chain_key, next_key

KEY = new_chain_key(b"k" * 32)


def test_a_line_is_what_the_standard_library_says_it_is() -> None:
    """The MACs are made by hand from two hash states, so they are held against HMAC itself."""
    chain = Chain(KEY)
    previous = hashlib.sha256(b"slurm-gateway audit chain v1" + KEY.chain.encode()).digest()[:16]
    for number in range(1, 4):
        (line,), macs = chain.seal([f'"event":"x","n":{number}'])
        chain.advance(macs)
        covered, _, rest = line.partition(b',"mac":"')
        expected = hmac.new(KEY.key, previous + covered, "sha256").digest()[:16]
        assert rest == expected.hex().encode() + b'"}\n'
        assert mac_of(KEY.key, previous, covered) == macs[0] == expected
        assert list(json.loads(line)) == ["seq", "chain", "event", "n", "mac"]
        assert json.loads(line)["seq"] == number
        previous = expected


def test_a_line_that_was_not_written_leaves_the_chain_where_it_was() -> None:
    chain = Chain(KEY)
    first, _ = chain.seal(['"event":"x"'])
    again, _ = chain.seal(['"event":"x"'])
    assert first == again
    assert (chain.seq, chain.mac) == (0, first_mac(KEY.chain))


def test_a_key_leads_to_the_next_and_not_back() -> None:
    following = KEY.following()
    expected = hmac.digest(
        KEY.key, b"slurm-gateway audit key v1" + b"\0\0\0\0\0\0\0\1", hashlib.sha256
    )
    assert (following.chain, following.epoch, following.key) == (KEY.chain, 1, expected)
    assert next_key(KEY.key, 2) != following.following().key


def test_lines_of_another_epoch_have_other_macs() -> None:
    chain = Chain(KEY)
    before = chain.seal(['"event":"x"'])
    chain.use(KEY.following())
    assert chain.seal(['"event":"x"']) != before


@pytest.mark.parametrize("text", [repr(KEY), str(KEY), f"{KEY}"])
def test_a_key_is_never_shown(text: str) -> None:
    assert KEY.key.hex() not in text
    assert "kkkk" not in text


def test_the_name_of_a_chain_tells_nothing_of_its_key() -> None:
    assert len(KEY.chain) == 32
    assert KEY.chain != new_chain_key(b"l" * 32).chain
    assert KEY.chain not in KEY.key.hex()
