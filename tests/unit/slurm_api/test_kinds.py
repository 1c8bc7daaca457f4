"""What each kind of parameter takes and refuses."""

import pytest

from gateway.slurm_api.kinds import KINDS, MAXIMUM_VALUE_LENGTH, Kind, is_read_as_another

VALUES = [
    ("job-id", ["1", "123", "4294899999", "7_0", "123_4000001"]),
    ("job-ids", ["1", "1,2_3"]),
    ("steps", ["1", "1.batch", "1_2.0,3.extern", "4.interactive"]),
    ("number", ["0", "4294967295"]),
    ("numbers", ["1", "1,2"]),
    ("integer", ["0", "-1", "137"]),
    ("switch", ["true", "false", "1", "0"]),
    ("time", ["0", "1700000000", "uts1700000000", "2026-01-31", "2026-01-31T12:00:59"]),
    ("time", ["2026-01-31T12:00", "now", "now-2days", "now+90", "today"]),
    ("name", ["debug", "n1.example.org", "a_b-c", "_x", "1"]),
    ("account", ["proj:sub", "a+b", "x@y"]),
    ("user", ["alice", "alice@example.org", "1000"]),
    ("hosts", ["n1", "n[1-3,7],login1", "rack[1-2]n[01-16].example", "[1-3]"]),
    ("signal", ["TERM", "SIGKILL", "9", "64"]),
    ("states", ["COMPLETED,FAILED", "completed"]),
    ("show-flags", ["ALL", "ALL,DETAIL"]),
    ("admin-level", ["Not Set", "Operator"]),
    ("text", ["a job (1) of [2], x=y: z+1@home"]),
]


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in VALUES for value in values]
)
def test_a_kind_takes_what_people_send(kind: str, value: str) -> None:
    assert KINDS[kind].accepts(value)


REFUSED = [
    ("job-id", ["0", "00", "01", "-1", "+1", "1_", "_1", "1_2_3", "1_[2-3]", "1_*", "1+1", "1.0"]),
    ("job-id", ["4294967294", "4294967296", "9999999999", "99999999999", "1..", "1.json", "1 "]),
    ("job-id", ["1\n", "\u0661", "1%00", "1_99999999", "submit", "{}"]),
    ("job-ids", ["1,", ",1", "1,,2", "1,0", "1;2", "1, 2", "1.."]),
    ("steps", ["true", "1.", "1.x", "1_[2-3].0", "1..0"]),
    ("numbers", ["1,", "a"]),
    ("switch", ["TRUE", "yes", "2", "on", "true,false"]),
    ("time", ["1700000000.5", "01/02/24", "2026-1-1", "now-", "now--1", "12:00", "now+99years"]),
    ("name", [".", "..", "a..b", ".a", "a.", "-a", "a/b", "a b", "a,b", "a:b", "a[1]", "é"]),
    ("account", ["a=b", "a,b", "a'b", "+a", "a+"]),
    ("user", ["a,b", "a b", "a\\b", "@a", "a@", "a@@b", "a$"]),
    ("hosts", ["n[1-3", "n1-3]", "n[]", "n[1-]", "n[a]", "n1,,n2", "n[1-3]..x", "n*", "-n1", "[["]),
    ("signal", ["0", "65", "KILL9", "term", "SIGSIGTERM"]),
    ("show-flags", ["all", "NOPE", "ALL,", "ALL DETAIL"]),
    ("group-ids", ["root", "1000,users"]),
    ("text", ["it's", 'say "x"', "a;b", "a%b", "a\\b", "a/b", "a\tb", "x" * 256]),
]


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in REFUSED for value in values]
)
def test_a_kind_refuses_what_releases_stumble_over(kind: str, value: str) -> None:
    assert not KINDS[kind].accepts(value)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_no_kind_takes_what_has_another_meaning_elsewhere(kind: Kind) -> None:
    for text in (
        "",
        "..",
        "a..b",
        "a/b",
        "a\\b",
        "a;b",
        "a%b",
        "a\x00",
        "a\nb",
        "a'b",
        'a"b',
        "a&b",
    ):
        assert not kind.accepts(text), text
    assert not kind.accepts("1," * MAXIMUM_VALUE_LENGTH + "1")


@pytest.mark.parametrize(
    "value",
    ["0", "7", "123456789012345678", "no-such", "a7", "7a", "n1", "1_000", "1.5.2", "true1"],
)
def test_a_text_that_slurmrestd_leaves_as_it_is(value: str) -> None:
    assert not is_read_as_another(value)


@pytest.mark.parametrize(
    "value",
    [
        "00",
        "007",
        "1.5",
        "1.0",
        "5.",
        ".5",
        "1e3",
        "1e",
        "1.e3",
        "0x",
        "0X1f",
        "-1",
        "+1",
        "~",
        "NULL",
        "True",
        "FALSE",
        "yes",
        "No",
        "on",
        "OFF",
        "t",
        "F",
        "y",
        "N",
        "inf",
        "-Infinity",
        "NaN",
        "9223372036854775808",
        "1234567890123456789",
    ],
)
def test_a_text_that_slurmrestd_makes_something_else_of(value: str) -> None:
    """Measured on 20.11.4, 22.05.8, 24.11.5 and 26.05.5."""
    assert is_read_as_another(value)
