"""The audit that verification is measured on is one that the program itself finds sound."""

from pathlib import Path

from soak.audit_speed import verify, write_audit


def test_what_is_measured_is_a_sound_chain(tmp_path: Path) -> None:
    count = write_audit(tmp_path, 50_000)
    lines = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert len(lines) == count > 50
    assert verify(tmp_path) > 0
