"""Whatever breaks, and whoever retries how often: no key ever runs twice, and its answers are of its one job."""

import asyncio
import random
from collections import defaultdict
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied
from gateway.edges.upstream_answer import Answer
from tests.examples import tried
from tests.fake_keys import SETTLE_SECONDS, TERMS
from tests.key_world import Fate, KeyWorld, Slurm, job_id_of, keyed
from tests.virtual_time import run_virtually

CLIENTS = 5
KEYS = 3
ATTEMPTS = 6


class Run:
    """Clients that retry under keys they share, a gateway that crashes, and a Slurm that breaks.

    A slurmctld that stops and goes on needs half the settling time to work off what came before.
    """

    def __init__(self, seed: int, fates: list[Fate], late_seconds: float) -> None:
        self.may_stop = late_seconds <= SETTLE_SECONDS / 2
        self.random = random.Random(seed)  # noqa: S311  # it picks a scenario
        self.slurm = Slurm(list(fates), late_seconds=late_seconds)
        self.slurm.working_off_seconds = self.random.choice([0.0, 1.0, 5.0])
        self.answers: dict[str, set[int]] = defaultdict(set)
        self.wrong: list[str] = []

    async def __call__(self) -> None:
        terms = replace(TERMS, wait_seconds=self.random.choice([20, 45, 90]))
        self.world = KeyWorld(self.slurm, terms)
        while self.random.random() < 0.8:
            clients = [asyncio.ensure_future(self.client()) for _ in range(CLIENTS)]
            trouble = asyncio.ensure_future(self.trouble())
            await asyncio.sleep(self.random.choice([0.5, 3, 30, 200]))
            if self.random.random() < 0.5:
                await cut([*clients, trouble])
                self.world.start()
            else:
                await asyncio.gather(*clients)
                await cut([trouble])
            self.go_on()
        await asyncio.sleep(100)
        await asyncio.gather(*self.slurm.tasks)

    async def client(self) -> None:
        """Retry one key until it is answered, with pauses of its own."""
        name = f"job-{self.random.randrange(KEYS)}"
        for _ in range(ATTEMPTS):
            await asyncio.sleep(self.random.choice([0, 0.01, 1, 5, 21, 60]))
            try:
                if self.random.random() < 0.1:
                    await self.other_body(name)
                answer = await self.submit(name)
            except Denied:
                continue
            if answer.head.status == 200:
                self.answers[name].add(job_id_of(answer))
                if self.random.random() < 0.5:
                    return

    async def submit(self, name: str) -> Answer:
        """The record beside it takes its time, and now and then there is none."""
        grant = keyed(name, name)
        seconds = self.random.choice([0.0, 0.001, 0.5, 2.0])
        return await self.world.recorded(grant, seconds, is_refused=self.random.random() < 0.2)

    async def other_body(self, name: str) -> None:
        """It is refused if the key is taken; whether it is, nobody but the gateway knows here."""
        key = f"{name}-other" if self.random.random() < 0.5 else name
        if key == name and not self.answers[name]:
            return
        try:
            await self.world.submit(key, name=f"{name}-other")
        except Denied:
            return
        if key == name:
            self.wrong.append("another body ran under a key that had been answered")

    async def trouble(self) -> None:
        """slurmctld goes down, or stops and goes on."""
        while True:
            await asyncio.sleep(self.random.choice([1, 10, 40]))
            if self.random.random() < 0.5 or not self.may_stop:
                self.slurm.is_down = not self.slurm.is_down
            elif self.slurm.resumed is None:
                self.slurm.resumed = asyncio.Event()
            else:
                self.go_on()

    def go_on(self) -> None:
        """slurmctld is back."""
        resumed, self.slurm.resumed = self.slurm.resumed, None
        self.slurm.is_down = False
        if resumed is not None:
            resumed.set()


async def cut(tasks: list["asyncio.Future[None]"]) -> None:
    """As kill -9 does it: nobody finishes anything."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert result is None or isinstance(result, asyncio.CancelledError), result


@tried(400)
@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.sampled_from(Fate), max_size=25),
    late_seconds=st.sampled_from([0.0, 0.5, 5.0, 8.0, 15.0, 18.0]),
)
def test_no_key_runs_twice(seed: int, fates: list[Fate], late_seconds: float) -> None:
    async def scenario() -> Run:
        run = Run(seed, fates, late_seconds)
        await run()
        return run

    run = run_virtually(scenario())
    runs = run.slurm.runs()
    assert all(count == 1 for count in runs.values()), runs
    ids = {job.name: {job.job_id} for job in run.slurm.jobs}
    for name, answered in run.answers.items():
        assert answered <= ids.get(name, set())
    assert not run.wrong
