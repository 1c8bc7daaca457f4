"""An item of the journal -> its next step, which may have been done before: nothing is submitted twice."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.client.facts import job_facts
from gateway.client.folder.ending import Ending, Silence, how_it_ended
from gateway.client.folder.journal import Item, Journal, write_synced
from gateway.client.folder.places import DONE, FAILED, RUNNING, Places
from gateway.client.opening import Cluster
from gateway.client.submit.assembling import Submission, assemble, script_name
from gateway.client.submit.job_file import is_json, read_job_file
from gateway.client.submit.script import read_script
from gateway.client.submit.table import read_options
from gateway.client.submitting import new_key, submit
from gateway.client.trouble import Exit, Trouble, printable

_KEY_SECONDS = 23 * 3600.0
"""The gateway promises for 24 hours that a key submits nothing twice."""
_MOST_SILENCES = 45
"""About ten minutes of asking, at the pace of run-folder."""
_FOREVER_UNKNOWN = "outcome-unknown"
_ANSWERS = frozenset({Exit.REFUSED_BY_SLURM, Exit.UNFIT_DATA, Exit.UNREADABLE_ANSWER})
"""What is said about the one job, or is no answer that another try would better."""
_OF_THE_FILE = frozenset(
    {
        "body-malformed",
        "body-too-large",
        "field-forbidden",
        "idempotency-body-unfit",
        "media-type-unsupported",
    }
)
"""Refusals of the gateway that say something of the one job; all others are the same for every job."""

Tell = Callable[[str, str], None]
"""(a file's name, what became of it)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Who submits, with which variables, and by which clock."""

    whose: str
    environ: Mapping[str, str]
    now: Callable[[], float] = time.time


class Work:
    """The steps of a file. Each is in the journal before what it promises is done."""

    def __init__(
        self, places: Places, journal: Journal, cluster: Cluster, terms: Terms, tell: Tell
    ) -> None:
        self._places = places
        self._journal = journal
        self._cluster = cluster
        self._terms = terms
        self._tell = tell
        self._silences: dict[str, int] = {}
        """How often the accounting had no word on a job that slurmctld has forgotten."""

    def check(self, item: Item) -> None:
        """Raises Trouble where somebody else has sent it: their key would be a new one to the gateway."""
        is_open = item.sent_at and not item.job_id and not item.place
        if is_open and item.whose != self._terms.whose:
            raise Trouble(
                Exit.WRONG_CALL,
                f"{printable(item.name)} was sent by another sign-in, and maybe is a job already.",
                f"sign in as before, or look whether it is, and then move {RUNNING}/"
                f"{printable(item.running)} away",
            )

    def take(self, name: str) -> Item:
        """A new item for a file, which is in `running` when this returns. Raises Trouble."""
        running = self._places.free(name, RUNNING)
        return self._fetch(self._journal.note(new_key(), name=name, running=running))

    def go_on(self, item: Item) -> Item:
        """The next step of an item, if it can be done now.

        Raises Trouble: with Exit.UNAVAILABLE or Exit.UNDECIDED where it is to be tried again later,
        and with anything else where all work has to stop.
        """
        if item.place:
            return self._file(item)
        if item.job_id:
            return self._follow(item)
        item = self._fetch(item)
        return item if item.filed else self._send(item)

    def _fetch(self, item: Item) -> Item:
        """Move it to `running`, if it is not there. Somebody may have taken it away before.

        Once its request is kept, it was there: another file of its name is another job.
        """
        place = f"{RUNNING}/{item.running}"
        if self._places.holds(place) or self._places.request(item.key).exists():
            return item
        if not self._places.holds(item.name):
            self._tell(item.name, "is gone again")
            return self._journal.note(item.key, filed=True)
        self._places.move(item.name, place)
        return item

    def _send(self, item: Item) -> Item:
        try:
            request = self._request(item)
        except Trouble as trouble:
            if trouble.code is not Exit.UNFIT_DATA:
                raise
            return self._over(item, FAILED, trouble.facts())
        if item.sent_at and self._terms.now() - item.sent_at > _KEY_SECONDS:
            return self._never_known(item)
        if not item.sent_at:
            item = self._journal.note(item.key, sent_at=self._terms.now(), whose=self._terms.whose)
        cluster = Cluster(self._cluster.gateway, request["version"])
        try:
            submitted = submit(cluster, request["body"], _idempotency_key(item), most_seconds=0)
        except Trouble as trouble:
            if trouble.is_no_address:
                return self._without_address(item, trouble, request["version"])
            return self._unsubmitted(item, trouble)
        self._tell(item.name, f"submitted as job {submitted.job_id}")
        return self._journal.note(item.key, job_id=submitted.job_id)

    def _request(self, item: Item) -> dict[str, Any]:
        """What is sent, word for word the same each time: with another body the key means another job.

        What was not sent with this key may be written anew, for the API version of today.
        """
        file = self._places.request(item.key)
        if file.exists():
            request = _read_request(file.read_bytes(), str(file))
            if item.sent_at or request["version"] == self._cluster.version:
                return request
        body = self._body(item)
        request = {"version": self._cluster.version, "body": body}
        write_synced(file, json.dumps(request).encode())
        return request

    def _body(self, item: Item) -> dict[str, Any]:
        content = self._places.read(f"{RUNNING}/{item.running}")
        name = os.fsencode(item.name).decode("utf-8", "replace")
        notes: tuple[str, ...]
        if is_json(content, name):
            body, note = read_job_file(content, name)
            notes = (note,) if note else ()
        else:
            known = read_options()
            script = read_script(content, name, known)
            environ = self._terms.environ
            submission = Submission(script, script_name(name), (), (), environ, known)
            body = assemble(submission, self._cluster.number, self._terms.now())
            notes = script.notes
        for note in notes:
            self._tell(item.name, f"note: {note}")
        return body

    def _without_address(self, item: Item, trouble: Trouble, version: str) -> Item:
        """slurmrestd serves this API version no more: nothing was read, and the key is used up by its answer."""
        item = self._journal.note(item.key, sent_as=new_key(), sent_at=0.0)
        if version == self._cluster.version:
            raise trouble
        return item

    def _unsubmitted(self, item: Item, trouble: Trouble) -> Item:
        if trouble.problem == _FOREVER_UNKNOWN and trouble.retry_after_seconds is None:
            return self._never_known(item)
        if trouble.code in _ANSWERS or trouble.problem in _OF_THE_FILE:
            return self._over(item, FAILED, trouble.facts())
        raise trouble

    def _never_known(self, item: Item) -> Item:
        trouble = Trouble(
            Exit.UNDECIDED,
            "Whether it was submitted is not known and never will be.",
            "look with `slurm-gateway history` whether it is there; if it is not, drop it again",
            problem=_FOREVER_UNKNOWN,
        )
        return self._over(item, FAILED, trouble.facts())

    def _follow(self, item: Item) -> Item:
        try:
            ending = how_it_ended(self._cluster, item.job_id)
        except Silence as silence:
            ending = self._after_silence(item, silence)
        if ending is None:
            return item
        return self._over(item, DONE if ending.is_good else FAILED, _facts(ending))

    def _after_silence(self, item: Item, silence: Silence) -> Ending:
        """What is known without the accounting, once it was asked often enough. Raises Trouble before."""
        asked = self._silences[item.key] = self._silences.get(item.key, 0) + 1
        if asked < _MOST_SILENCES:
            raise silence
        del self._silences[item.key]
        return silence.otherwise

    def _over(self, item: Item, place: str, facts: Mapping[str, Any]) -> Item:
        """Its place is chosen once, so that a second try ends up there too."""
        name = self._places.free(item.name, place)
        answer = {
            "file": os.fsencode(item.name).decode("utf-8", "replace"),
            "outcome": place,
            "job_id": item.job_id or None,
            "idempotency_key": _idempotency_key(item),
            **facts,
        }
        item = self._journal.note(item.key, place=f"{place}/{name}", answer=answer)
        return self._file(item)

    def _file(self, item: Item) -> Item:
        """First the answer, then the file: what is in `done` has its answer beside it."""
        answer = json.dumps(item.answer, indent=2).encode() + b"\n"
        write_synced(self._places.answer(item.place), answer)
        running = f"{RUNNING}/{item.running}"
        if self._places.holds(running):
            self._places.move(running, item.place)
        self._places.request(item.key).unlink(missing_ok=True)
        self._tell(item.name, f"{_sentence(item)} → {printable(item.place)}")
        return self._journal.note(item.key, filed=True)


def _idempotency_key(item: Item) -> str:
    return item.sent_as or item.key


def _read_request(content: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
        is_whole = isinstance(found["body"], dict) and isinstance(found["version"], str)
    except (ValueError, TypeError, KeyError, RecursionError):
        is_whole = False
    if not is_whole:
        raise Trouble(
            Exit.LOCAL_FILE,
            f"{name} is damaged.",
            "ask `slurm-gateway history` whether its job is there; then remove it",
        )
    return dict(found)


def _facts(ending: Ending) -> dict[str, Any]:
    return {
        "state": ending.state,
        "exit_code": ending.exit_code,
        "jobs": [job_facts(job) for job in ending.jobs],
        **({"error": ending.error} if ending.error else {}),
    }


def _sentence(item: Item) -> str:
    answer = item.answer
    if error := answer.get("error"):
        return printable(error)
    return f"job {item.job_id} {printable(answer.get('state', ''))}, exit code {answer.get('exit_code')}"
