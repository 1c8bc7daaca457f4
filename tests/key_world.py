"""A Slurm in memory whose connections break -> how often each key ran, seen from Slurm's side."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum

import orjson

from gateway.denial import Denied, Reason
from gateway.edges.idempotent_upstream import IdempotentUpstream
from gateway.edges.job_lookup import LookupFailed
from gateway.edges.key_turns import KeyTurns
from gateway.edges.lost_job import FindLost
from gateway.edges.upstream_answer import Answer
from gateway.model import Grant, Identity, Lease
from gateway.slurm_api.marked_job import Sighting, Sought, find_job
from gateway.stages.forward import read_head
from gateway.stages.idempotency import KeyStore, Terms
from tests.fake_keys import JOB_AGE_SECONDS, SETTLE_SECONDS, TERMS, FakeKeyStore
from tests.fakes import FakeLease
from tests.scripted_upstream import answer as raw_answer
from tests.upstream_kit import SUBMIT, make_grant

EPOCH = 1_800_000_000.0


class Fate(Enum):
    """What becomes of one submission."""

    ANSWERED = "it runs, and the answer arrives"
    REFUSED = "Slurm refuses the job"
    NOT_SENT = "the connection could not be made"
    LOST_BEFORE = "the connection breaks, and Slurm never hears of it"
    LOST_AFTER = "the connection breaks, and Slurm takes the job a while later"
    VAGUE_BEFORE = "slurmrestd blames the way to slurmctld, which never hears of it"
    VAGUE_AFTER = "slurmrestd blames the way to slurmctld, which takes the job"
    CUT = "the job runs, and the answer breaks off in the middle"


@dataclass
class Job:
    """As slurmctld knows it."""

    job_id: int
    user: str
    comment: str
    name: str
    submitted: float


@dataclass
class Slurm:
    """Fills Upstream and JobLookup. `fates` are used up in order; then everything is answered.

    `late_seconds` is how long a submission may still be on its way after the connection broke.
    """

    fates: list[Fate] = field(default_factory=list)
    late_seconds: float = 15.0
    answer_seconds: float = 1.0
    jobs: list[Job] = field(default_factory=list)
    sent: list[Grant] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    is_down: bool = False
    looks: int = 0
    resumed: asyncio.Event | None = None
    """While it is not set, slurmctld is stopped, and works off what waits when it goes on."""
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    rewrites_comments: bool = False
    working_off_seconds: float = 1.0
    """From going on to taking what waits."""
    is_list_broken: bool = False

    async def send(self, grant: Grant) -> Answer:
        fate = self.fates.pop(0) if self.fates else Fate.ANSWERED
        if fate is Fate.NOT_SENT:
            raise Denied(Reason.UPSTREAM_UNREACHABLE, members={"outcome": "not-run"})
        assert grant.body is not None
        body = grant.body.read(grant.body.length)
        self.sent.append(grant)
        self.bodies.append(body)
        if fate in (Fate.LOST_AFTER, Fate.VAGUE_AFTER):
            self._later(grant, body)
        await asyncio.sleep(self.answer_seconds)
        if fate in (Fate.LOST_BEFORE, Fate.LOST_AFTER):
            raise Denied(Reason.UPSTREAM_UNREACHABLE, members={"outcome": "unknown"})
        if fate in (Fate.VAGUE_BEFORE, Fate.VAGUE_AFTER):
            return _answer(500, {"errors": [{"error_number": 1800}]}, grant)
        if self.resumed is not None:
            await self.resumed.wait()
        if fate is Fate.REFUSED:
            return _answer(500, {"errors": [{"error_number": 2000}]}, grant)
        job_id = self._take(grant, body)
        if fate is Fate.CUT:
            raise Denied(Reason.UPSTREAM_INVALID, members={"outcome": "unknown"})
        return _answer(200, {"job_id": job_id, "errors": []}, grant)

    def _later(self, grant: Grant, body: bytes) -> None:
        """slurmrestd goes on without us."""

        async def arrive() -> None:
            await asyncio.sleep(self.answer_seconds + self.late_seconds)
            if self.resumed is not None:
                await self.resumed.wait()
                await asyncio.sleep(self.working_off_seconds)
            self._take(grant, body)

        task = asyncio.get_running_loop().create_task(arrive())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _take(self, grant: Grant, body: bytes) -> int:
        job = orjson.loads(body)["job"]
        job_id = len(self.jobs) + 1
        comment = "by a plugin" if self.rewrites_comments else job.get("comment", "")
        user = grant.admission.user.name
        self.jobs.append(Job(job_id, user, comment, job.get("name", ""), now()))
        return job_id

    async def pulse(self, grant: Grant) -> None:
        if self.is_down:
            raise LookupFailed("slurmctld is down")
        if self.resumed is not None:
            await self.resumed.wait()
        await asyncio.sleep(0.01)

    async def __call__(self, grant: Grant, sought: Sought) -> Sighting:
        """As old as a read may be: what was there when slurmctld took it up."""
        self.looks += 1
        await self.pulse(grant)
        if self.is_list_broken:
            raise LookupFailed("the list is too long")
        listed = [
            {
                "job_id": job.job_id,
                "user_name": job.user,
                "comment": job.comment,
                "name": job.name,
                "submit_time": int(job.submitted),
            }
            for job in self.jobs
        ]
        await asyncio.sleep(0.1)
        return find_job(orjson.dumps({"jobs": listed, "errors": []}), sought)

    def runs(self) -> dict[str, int]:
        """Jobs by the name that the user gave them."""
        counts: dict[str, int] = defaultdict(int)
        for job in self.jobs:
            counts[job.name] += 1
        return counts


def _answer(status: int, content: object, grant: Grant) -> Answer:
    body = orjson.dumps(content)
    grant.slot.release()
    return Answer(read_head(raw_answer(b"", f"{status} X", length=len(body))), body)


def now() -> float:
    """The world's clock, in step with the loop's."""
    return EPOCH + asyncio.get_running_loop().time()


class Slots:
    """Everybody gets one; `given` counts."""

    def __init__(self) -> None:
        self.given: list[FakeLease] = []

    async def acquire(self, identity: Identity) -> Lease:
        self.given.append(FakeLease())
        return self.given[-1]


class KeyWorld:
    """A gateway that may crash in front of a Slurm that may break. Make it inside a running loop."""

    def __init__(
        self, slurm: Slurm | None = None, terms: Terms = TERMS, store: KeyStore | None = None
    ) -> None:
        self.slurm = slurm or Slurm()
        self.store = store or FakeKeyStore()
        self.slots = Slots()
        self.terms = terms
        self._processes = 0
        self.start()

    def start(self) -> None:
        """A new process: it knows what is in the store, and nothing else."""
        self._processes += 1
        self.turns = KeyTurns(f"process-{self._processes}", asyncio.get_running_loop().time)
        find_lost = FindLost(self.slurm, self.turns, SETTLE_SECONDS, JOB_AGE_SECONDS, now)
        self.gateway = IdempotentUpstream(
            self.slurm, self.store, self.turns, find_lost, self.slots, self.terms, now
        )

    async def recorded(self, grant: Grant, seconds: float, *, is_refused: bool = False) -> Answer:
        """One request as the pipeline has it: its key is begun beside a record that takes so long.

        Raises Denied(AUDIT_UNAVAILABLE) where the record is refused.
        """
        admission = grant.admission
        course = self.gateway.begin(admission, grant.body, grant.slot)
        assert course is not None
        try:
            await write_record(seconds, is_refused=is_refused)
        except BaseException:
            course.drop()
            raise
        answer = await self.gateway.send(grant._replace(beside=course))
        await course.wait()
        return answer

    async def submit(
        self, key: str, name: str = "job", user: str = "alice", **job: object
    ) -> Answer:
        """One request; the body has the name and nothing else that differs."""
        return await self.gateway.send(keyed(key, name, user, **job))


async def write_record(seconds: float, *, is_refused: bool) -> None:
    """Stands for the audit."""
    await asyncio.sleep(seconds)
    if is_refused:
        raise Denied(Reason.AUDIT_UNAVAILABLE)


def keyed(key: str, name: str = "job", user: str = "alice", **job: object) -> Grant:
    """A submission with a key, as the stages would grant it."""
    grant = make_grant(SUBMIT, user, body=orjson.dumps({"job": {"name": name, **job}}))
    request = grant.admission.request._replace(idempotency_key=key)
    return grant._replace(admission=grant.admission._replace(request=request))


def job_id_of(answer: Answer) -> int:
    """From the whole body."""
    assert answer.whole is not None
    number = orjson.loads(answer.whole)["job_id"]
    assert isinstance(number, int)
    return number


def is_replay(answer: Answer) -> bool:
    """Whether the answer says so, in both of its forms."""
    said = (b"idempotent-replayed", b"true") in answer.head.headers
    assert said == (b"idempotent-replayed: true\r\n" in answer.head.lines)
    return said
