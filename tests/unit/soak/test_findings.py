"""What was heard, recorded and run -> the promises that were broken. A soak that finds nothing must be able to."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from soak.audit import Audited, read_audit
from soak.findings import Findings, judge
from soak.ledger import Heard, Ledger
from soak.measured import as_markdown, read_all
from soak.report import MarkersMissingError, as_text, write_between_markers

MB = 1_000_000


def found(**changes: Any) -> Findings:
    """A run in which all went well, and what was different."""
    ledger = Ledger()
    ledger.use("k1")
    ledger.hear(Heard("r1", "submit", 200, "", 7))
    ledger.settle("k1", 7)
    for one in changes.pop("heard", ()):
        ledger.hear(one)
    given: dict[str, Any] = {
        "audited": Audited({"r1": {"7"}}),
        "ran": {"k1": {"7"}},
        "listed": {"k1": {"7"}},
        "memory": (80 * MB, 87 * MB),
        "fault_of_chain": "",
        **changes,
    }
    return judge(ledger, **given)


def test_a_run_in_which_all_went_well_breaks_nothing() -> None:
    assert found().failures() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heard": [Heard("r2", "read", 200, "")]}, "1 acknowledged requests are not in the audit"),
        ({"heard": [Heard("", "read", 200, "")]}, "1 acknowledged requests are not in the audit"),
        ({"audited": Audited({"r1": {"8"}})}, "1 records do not name their job"),
        ({"ran": {"k1": {"7", "8"}}}, "1 keys have more than one job"),
        ({"listed": {"k1": {"8"}}}, "1 keys have more than one job"),
        ({"memory": (80 * MB, 89 * MB)}, "memory grew from 80000000 to 89000000"),
        ({"audited": Audited({"r1": {"7"}}, 2)}, "2 lines of the audit are no records"),
        ({"fault_of_chain": "line 3"}, "audit verify finds the audit changed"),
        ({"ran": {}}, "nothing was acknowledged, or no job ran: there was no load"),
    ],
)
def test_each_promise_that_is_broken_is_said(changes: dict[str, Any], said: str) -> None:
    judged = found(**changes)
    assert said in judged.failures()
    assert as_text(judged)


def test_only_a_refusal_for_want_of_an_audit_needs_no_record() -> None:
    unrecorded = [Heard("r2", "read", 503, "audit-unavailable")]
    assert found(heard=unrecorded).failures() == []
    assert found(heard=[Heard("r2", "read", 503, "busy")]).failures()


def test_the_audit_is_read_whole_whatever_shape_its_records_have(tmp_path: Path) -> None:
    lines = [
        {"request_id": "old", "job_ids": ["1"]},
        {"event": "begin", "request_id": "new", "job_ids": []},
        {"event": "end", "request_id": "new", "job_ids": ["2"]},
        {"event": "start"},
    ]
    text = [json.dumps(line).encode() + b"\n" for line in lines]
    (tmp_path / "audit-20260101T000000Z.jsonl.gz").write_bytes(gzip.compress(text[0]))
    (tmp_path / "audit-20260102T000000Z.jsonl").write_bytes(text[1])
    (tmp_path / "audit.jsonl").write_bytes(text[2] + text[3] + b'{"torn":' + b"\0" * 9)
    audited = read_audit(tmp_path)
    assert audited.jobs == {"old": {"1"}, "new": {"2"}}
    assert audited.broken_lines == 1


def test_what_tests_have_counted_becomes_a_table(tmp_path: Path) -> None:
    count = {"name": "targets", "cases": 5000, "failures": 0, "releases": {"22.05": 2, "sid": 3}}
    (tmp_path / "targets.json").write_text(json.dumps(count))
    table = as_markdown(read_all(tmp_path))
    assert table.endswith("| targets | 5000 | 0 | releases 22.05 2, sid 3 |")
    document = tmp_path / "page.md"
    document.write_text("a<b>old<e>z")
    write_between_markers(document, "new", "<b>", "<e>")
    assert document.read_text() == "a<b>\nnew\n<e>z"
    with pytest.raises(MarkersMissingError):
        write_between_markers(document, "new", "<b>", "<x>")
