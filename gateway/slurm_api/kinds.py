"""(a parameter's text) -> is it of its kind? Every kind is one anchored pattern of linear time.

slurmrestd hands most parameters on unread, and some releases end on what they do not expect:
24.11.5 on `job/1..` and on a group's name, 22.05.8 and 20.11.4 on `31_[2-3]` and on a step that is
no number. 20.11.4 and 22.05.8 read a job id modulo 2^32, so that slurmdb's job 4294967296 is "all
jobs". A kind therefore takes what every measured release is known to survive, and no more.

No kind takes `/ \\ % ; ' " &` or control characters (20.11.4 and 22.05.8 pass them on to their
database), and none takes "..".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAXIMUM_VALUE_LENGTH = 4096
"""Characters of one parameter; the whole URL has 8192."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a parameter may hold. `meaning` completes "must be …" for the client.

    `repeats`: slurmrestd wants each item of the list as a parameter of its own. Its documents ask
    for commas, but 24.11.5 and 26.05.5 refuse a raw comma and do not split at an encoded one.
    """

    name: str
    meaning: str
    pattern: re.Pattern[str]
    repeats: bool = False

    def accepts(self, value: str) -> bool:
        return (
            len(value) <= MAXIMUM_VALUE_LENGTH
            and ".." not in value
            and self.pattern.fullmatch(value) is not None
        )


_JOB = (  # 1 to 4294899999: below NO_VAL, and room for the cluster bits of federated ids
    r"(?:[1-9][0-9]{0,8}|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}"
    r"|4294[0-8][0-9]{5})"
)
_TASK = r"(?:0|[1-9][0-9]{0,6})"  # MaxArraySize is at most 4000001
_JOB_ID = rf"{_JOB}(?:_{_TASK})?"
_STEP = rf"{_JOB_ID}(?:\.(?:0|[1-9][0-9]{{0,8}}|batch|extern|interactive))?"
_NUMBER = r"(?:0|[1-9][0-9]{0,9})"
_NAME = r"(?!-)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_ACCOUNT = r"(?!-)[A-Za-z0-9_-]+(?:[.@:+][A-Za-z0-9_-]+)*"
_USER = rf"{_NAME}(?:@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)?"
_RANGES = r"\[[0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*\]"
_HOST = rf"(?![.-])(?:[A-Za-z0-9_.-]|{_RANGES})+"
_WORD = r"[A-Za-z0-9_]+"
_TIME = (
    r"(?:uts)?(?:0|[1-9][0-9]{0,10})"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?"
    r"|now(?:[+-][0-9]{1,9}(?:(?:second|minute|hour|day|week)s?)?)?"
    r"|today|tomorrow|midnight|noon"
)
_SIGNAL = (
    r"(?:SIG)?(?:HUP|INT|QUIT|ABRT|KILL|ALRM|TERM|USR1|USR2|URG|CONT|STOP|TSTP|TTIN|TTOU)"
    r"|[1-9]|[1-5][0-9]|6[0-4]"
)

_OTHER_TYPE = re.compile(
    r"~|null|true|false|yes|no|on|off|[tfyn]"
    r"|[+-]?(?:inf|infinity|nan)"
    r"|[+-]?0x[0-9a-f.]*(?:p[+-]?[0-9]*)?"
    r"|(?!(?:0|[1-9][0-9]{0,17})\Z)[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]*)?",
    re.ASCII | re.IGNORECASE,
)


def is_read_as_another(value: str) -> bool:
    """Whether slurmrestd would make something else of a segment of a path before it looks it up.

    All four measured releases turn what looks like a number, a switch or null into one: the account
    "007" into 7, the user "t" into true, "1.50" into 2 (22.05.8 and 20.11.4) or 1.5. The QOS "null"
    ends 24.11.5 and 26.05.5. A whole number without leading zeros comes out as it went in.
    """
    return _OTHER_TYPE.fullmatch(value) is not None


def _list_of(item: str) -> str:
    return f"{item}(?:,{item})*"


def _kind(name: str, meaning: str, pattern: str, *, repeats: bool = False) -> Kind:
    return Kind(name, meaning, re.compile(pattern, re.ASCII), repeats)


def _choice(name: str, *words: str, repeats: bool = False) -> Kind:
    item = f"(?:{'|'.join(re.escape(word) for word in words)})"
    listed = ", ".join(words)
    pattern, before = (_list_of(item), "a list of") if repeats else (item, "one of")
    return _kind(name, f"{before} {listed}", pattern, repeats=repeats)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _kind("job-id", "a job id such as 123, or 123_4 for an array task", _JOB_ID),
            _kind("job-ids", "job ids such as 123,124_5", _list_of(_JOB_ID), repeats=True),
            _kind("steps", "job or step ids such as 123,124.batch", _list_of(_STEP), repeats=True),
            _kind("step-list", "job or step ids such as 123,124.batch", _list_of(_STEP)),
            _kind("number", "a whole number", _NUMBER),
            _kind("numbers", "whole numbers with commas between", _list_of(_NUMBER)),
            _kind("integer", "a whole number, perhaps negative", f"-?{_NUMBER}"),
            _kind("switch", "true or false", r"true|false|1|0"),
            _kind(
                "time",
                "a time: seconds since the epoch, 2026-01-31, 2026-01-31T12:00:00 or now-2days",
                _TIME,
            ),
            _kind("name", "a name of letters, digits and . _ -", _NAME),
            _kind("names", "names of letters, digits and . _ -, with commas", _list_of(_NAME)),
            _kind("account", "an account", _ACCOUNT),
            _kind("accounts", "accounts with commas between", _list_of(_ACCOUNT)),
            _kind("wckey", "a workload characterisation key", _ACCOUNT),
            _kind("wckeys", "workload characterisation keys with commas", _list_of(_ACCOUNT)),
            _kind("user", "a user name", _USER),
            _kind("users", "user names with commas between", _list_of(_USER)),
            _kind("job-users", "user names or ids with commas", _list_of(_USER), repeats=True),
            _kind("group-ids", "numbers of groups, with commas", _list_of(_NUMBER), repeats=True),
            _kind("groups", "group names or ids with commas", _list_of(_USER), repeats=True),
            _kind("hosts", "a host list such as node[1-3,7],login1", _list_of(_HOST)),
            _kind("words", "words with commas between", _list_of(_WORD)),
            _kind("states", "job states with commas between", _list_of(_WORD), repeats=True),
            _kind("signal", "a signal's name or number, such as TERM or 15", _SIGNAL),
            _kind(
                "text",
                "up to 255 letters, digits, blanks and _ . @ + : = ~ ( ) [ ] * , -",
                r"[A-Za-z0-9 _.@+:=~()\[\]*,-]{1,255}",
            ),
            _choice(
                "show-flags",
                *("ALL", "DETAIL", "MIXED", "LOCAL", "SIBLING", "FEDERATION", "FUTURE"),
                repeats=True,
            ),
            _choice(
                "kill-flags",
                *("BATCH_JOB", "ARRAY_TASK", "FULL_STEPS_ONLY", "FULL_JOB", "FEDERATION_REQUEUE"),
                *("HURRY", "OUT_OF_MEMORY", "NO_SIBLING_JOBS", "RESERVATION_JOB", "NO_CRON_JOBS"),
                *("VERBOSE", "CRON_JOBS", "WARNING_SENT"),
                repeats=True,
            ),
            _choice(
                "cluster-flags",
                *("DELETED", "REGISTERING", "MULTIPLE_SLURMD", "FRONT_END", "FEDERATION"),
                "EXTERNAL",
                repeats=True,
            ),
            _choice(
                "preempt-mode", "DISABLED", "SUSPEND", "REQUEUE", "CANCEL", "GANG", repeats=True
            ),
            _choice("classification", "UNCLASSIFIED", "CAPABILITY", "CAPACITY", "CAPAPACITY"),
            _choice("admin-level", "Not Set", "None", "Operator", "Administrator"),
        )
    }
)
