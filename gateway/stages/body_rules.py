"""(Admission, Body) -> the Body to be forwarded, or Denied: what a role may ask for in a body.

Guard rails, and no more: whoever may submit runs code on the cluster and can call sbatch there.
Every object of a body is looked at, wherever it stands, under every name that a field has in any
version, compared without case. What cannot be read for certain is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gateway.denial import Denied, Reason
from gateway.model import Admission, AuthorizedCall, Body
from gateway.request.body_json import BodyRefused, read_body
from gateway.request.media_type import JSON
from gateway.slurm_api.field_rules import Cap, Choice, FieldRules, is_environment
from gateway.slurm_api.field_values import size_of, words_of
from gateway.slurm_api.fields import CONTAINERS, DEADLY, JOBS, RULED, folded
from gateway.slurm_api.forced_fields import Unwritable, write_forced
from gateway.slurm_api.versions import VersionRange

_PROMPT_BYTES = 65_536
"""Larger bodies are read in a thread: parsing this much takes 0.1 ms, 4 MiB take 11 ms."""
_SECONDS = 30.0
_SHOWN_CHARACTERS = 64

T = TypeVar("T")
_Object = dict[str, Any]


class Threads(Protocol):
    """A few threads of the gateway's own."""

    async def run(self, seconds: float, function: Callable[[], T], /) -> T: ...


class BodyRules:
    """Looks at bodies with the rules of the roles that allow the call, in their order.

    `by_role` has the rules by role and group. `make_body` makes a Body of new bytes.
    """

    def __init__(
        self,
        by_role: Mapping[str, Mapping[str, FieldRules]],
        threads: Threads,
        make_body: Callable[[bytes], Body],
        maximum_bytes: int,
    ) -> None:
        self._by_role = by_role
        self._threads = threads
        self._make_body = make_body
        self._maximum_bytes = maximum_bytes

    async def __call__(self, admission: Admission, body: Body) -> Body:
        """The same body, or one with forced fields. Raises Denied.

        FIELD_FORBIDDEN where no role admits it; BODY_MALFORMED, BODY_TOO_LARGE or
        MEDIA_TYPE_UNSUPPORTED where it cannot be judged.
        """
        if admission.request.media_type != JSON:
            raise Denied(
                Reason.MEDIA_TYPE_UNSUPPORTED, detail="Rules apply to this body: send JSON."
            )
        if body.length > self._maximum_bytes:
            detail = f"Rules apply to this body: it may have at most {self._maximum_bytes} bytes."
            raise Denied(Reason.BODY_TOO_LARGE, detail=detail)
        call = admission.call
        if body.length <= _PROMPT_BYTES:
            raw = self.judge(call, _bytes_of(body), patiently=False)
        else:
            raw = await self._judge_aside(call, body)
        return body if raw is None else self._make_body(raw)

    async def _judge_aside(self, call: AuthorizedCall, body: Body) -> bytes | None:
        try:
            return await self._threads.run(
                _SECONDS, lambda: self.judge(call, _bytes_of(body), patiently=True)
            )
        except (TimeoutError, OSError) as error:
            raise Denied(Reason.BUSY, f"body rules: {type(error).__name__}") from error

    def judge(self, call: AuthorizedCall, raw: bytes, *, patiently: bool = False) -> bytes | None:
        """None for a body that may pass as it is; the bytes to send instead where fields are forced."""
        try:
            top = read_body(raw, patiently=patiently)
        except BodyRefused as refused:
            raise Denied(Reason.BODY_MALFORMED, str(refused), detail=_detail(refused)) from None
        group = RULED[call.operation.name].group
        if group == JOBS:
            _check_deadly(VersionRange.parse(call.version).first, top)
        first: Denied | None = None
        for role in call.roles:
            rules = self._by_role[role][group]
            try:
                return _apply(rules, call, top)
            except Denied as denied:
                first = first or denied
        raise first or Denied(Reason.FIELD_FORBIDDEN, "no role allows the call")


def _bytes_of(body: Body) -> bytes:
    """All of it; afterwards the body stands at its beginning again."""
    try:
        return body.read(body.length)
    finally:
        body.rewind()


def _detail(refused: BodyRefused) -> str:
    return f"{Reason.BODY_MALFORMED.sentence} ({refused})"


def _apply(rules: FieldRules, call: AuthorizedCall, top: _Object) -> bytes | None:
    ruled = RULED[call.operation.name]
    if rules.is_empty:
        return None
    jobs = _jobs(rules, top) if ruled.group == JOBS else [top]
    for path, found in _objects(top, ""):
        _check_object(rules, path, found)
    if ruled.makes_jobs:
        _check_required(rules, jobs)
    elif ruled.group == JOBS:
        _check_unchanged(rules, top)
        return None
    if not rules.forced:
        return None
    try:
        return write_forced(rules.forced, call.version, top, jobs)
    except Unwritable as unwritable:
        what = "has a value of its own here, which cannot be given in this API version"
        raise _refused(rules, str(unwritable), what) from None


def _refused(rules: FieldRules, field: str, what: str, note: str = "") -> Denied:
    """The name may be anything, so it is cut; the value goes nowhere but into what the client sees."""
    shown = field[:_SHOWN_CHARACTERS]
    return Denied(
        Reason.FIELD_FORBIDDEN,
        f"{shown}: {note or what}",
        detail=f"{shown} {what}.",
        rule=rules.place,
        members={"field": shown},
    )


def _jobs(rules: FieldRules, top: _Object) -> list[_Object]:
    """The descriptions of jobs in a body: those in its containers, or the body itself."""
    found: list[_Object] = []
    is_contained = False
    for name, value in top.items():
        is_list = CONTAINERS.get(folded(name))
        if is_list is None:
            continue
        is_contained = True
        items = value if is_list and isinstance(value, list) else [value]
        if is_list is not isinstance(value, list) or not all(isinstance(x, dict) for x in items):
            shape = "a list of objects" if is_list else "an object"
            raise _refused(rules, name, f"must be {shape}")
        found += items
    return found if is_contained else [top]


def _objects(value: Any, path: str) -> Iterator[tuple[str, _Object]]:
    """Every object below, with where it stands; environments are values, not objects."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            if not is_environment(folded(name)):
                yield from _objects(member, f"{path}{name}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(item, f"{path[:-1]}[{index}].")


def _check_deadly(version: int, top: _Object) -> None:
    for path, found in _objects(top, ""):
        for name, value in found.items():
            versions = DEADLY.get(folded(name))
            if versions is not None and versions.covers(version) and value != []:
                shown = f"{path}{name}"[:_SHOWN_CHARACTERS]
                raise Denied(
                    Reason.FIELD_FORBIDDEN,
                    f"{shown}: ends slurmrestd in {versions}",
                    detail=f"{shown} ends slurmrestd in {versions}: leave it out, or use a later API version.",
                    members={"field": shown},
                )


def _check_object(rules: FieldRules, path: str, found: _Object) -> None:
    for name, value in found.items():
        key = folded(name)
        if key in rules.forbidden:
            raise _refused(rules, path + name, "may not be set")
        if (cap := rules.caps.get(key)) is not None:
            _check_cap(rules, cap, path + name, value)
        if (choice := rules.choices.get(key)) is not None:
            _check_choice(rules, choice, path + name, value)
        if rules.variables and is_environment(key):
            _check_environment(rules, path + name, value)


def _check_cap(rules: FieldRules, cap: Cap, shown: str, value: Any) -> None:
    if isinstance(value, bool) and folded(shown.rpartition(".")[2]) in cap.switches:
        return
    try:
        size = size_of(cap.field.kind, value)
    except ValueError as unreadable:
        what = f"may be at most {cap.maximum}, and this value cannot be compared ({unreadable})"
        raise _refused(rules, shown, what) from None
    if not cap.admits(size):
        note = f"{size} is not within {cap.maximum}"
        raise _refused(rules, shown, f"may be at most {cap.maximum}", note)


def _check_choice(rules: FieldRules, choice: Choice, shown: str, value: Any) -> None:
    listed = ", ".join(sorted(choice.words)) or "nothing"
    try:
        words = words_of(value)
    except ValueError as unreadable:
        raise _refused(rules, shown, f"may be {listed} only ({unreadable})") from None
    if not choice.words.issuperset(words):
        raise _refused(rules, shown, f"may be {listed} only")


def _check_environment(rules: FieldRules, shown: str, value: Any) -> None:
    """A list of NAME=value or an object by name; nothing else is read as either."""
    match value:
        case dict():
            names = list(value)
        case list() if all(isinstance(item, str) for item in value):
            names = [item.partition("=")[0] for item in value]
        case _:
            raise _refused(rules, shown, "must be a list of NAME=value, or an object")
    for name in names:
        if any(_is_meant(name, pattern) for pattern in rules.variables):
            raise _refused(rules, f"{shown}.{name}", "may not be set")


def _is_meant(name: str, pattern: str) -> bool:
    """Without case and blanks: what a shell or a plugin makes of a name is not known here."""
    name, pattern = folded(name.strip()), folded(pattern)
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name.partition("=")[0] == pattern


def _check_required(rules: FieldRules, jobs: Sequence[_Object]) -> None:
    for field, names in rules.required:
        for job in jobs:
            if not any(folded(name) in names and _says(value) for name, value in job.items()):
                raise _refused(rules, field.setting, "must be set")


def _says(value: Any) -> bool:
    """Whether Slurm takes anything from a value, rather than filling the field in as if it were not there."""
    if isinstance(value, dict) and value:
        return all(member is True for name, member in value.items() if folded(name) == "set")
    return value not in (None, "", [], {})


def _check_unchanged(rules: FieldRules, top: _Object) -> None:
    """What is forced in new jobs stays as it is in an update."""
    for path, found in _objects(top, ""):
        for name in found:
            if folded(name) in rules.forced_names:
                raise _refused(
                    rules, path + name, "has a value of its own here and cannot be changed"
                )
