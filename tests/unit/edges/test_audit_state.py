"""The chain's key and tip in the state directory."""

import struct
from pathlib import Path

import pytest

from gateway.audit.chain import new_chain_key
from gateway.audit.recovery import Tip
from gateway.edges.audit_state import KEY_FILE, TIP_FILE, ChainState, forget_tip, write_key

KEY = new_chain_key(b"k" * 32)


def test_a_key_is_read_back_and_closed_to_others(tmp_path: Path) -> None:
    state = ChainState(tmp_path)
    assert state.load() is None
    state.write(KEY)
    assert ChainState(tmp_path).load() == KEY
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / TIP_FILE).stat().st_mode & 0o777 == 0o600


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_saved_key_replaces_the_one_before_of_which_nothing_is_left(tmp_path: Path) -> None:
    state = ChainState(tmp_path)
    state.write(KEY)
    await state.save(KEY.following())
    assert ChainState(tmp_path).load() == KEY.following()
    assert KEY.key.hex().encode() not in everything_in(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"chain":"00","epoch":0,"key":"00"}', '{"chain":1}']
)
def test_a_file_that_holds_no_key_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(OSError, match="holds no key"):
        ChainState(tmp_path).load()


def test_the_last_line_is_remembered(tmp_path: Path) -> None:
    state = ChainState(tmp_path)
    state.write(KEY)
    assert state.read_tip() is None
    for seq in range(1, 6):
        state.note(seq, seq // 2, bytes([seq]) * 16)
        assert ChainState(tmp_path).read_tip() == Tip(seq, seq // 2, bytes([seq]) * 16, KEY.chain)
    forget_tip(tmp_path)
    assert ChainState(tmp_path).read_tip() is None


def test_a_kill_within_a_note_leaves_the_line_before(tmp_path: Path) -> None:
    """The slot's second number is written last, so one that differs is a slot half written."""
    state = ChainState(tmp_path)
    state.write(KEY)
    for seq in (1, 2, 3):
        state.note(seq, 0, bytes([seq]) * 16)
    with (tmp_path / TIP_FILE).open("r+b") as file:
        file.write(struct.pack("=QQ", 4, 0))  # slot 0 held line 2
    tip = ChainState(tmp_path).read_tip()
    assert tip is not None
    assert tip.seq == 3


def test_a_new_key_never_overwrites_a_file(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "there", KEY, is_new=True)
