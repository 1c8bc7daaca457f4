"""(Plan, Site) -> load, one fault after the other under it, and what came of it all."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from lab.jobs import cancel_all
from lab.processes import wait_until
from soak.audit import read_audit
from soak.clients import Client, roles, run_role
from soak.findings import UNRECORDABLE, Findings, jobs_run, judge
from soak.ledger import Ledger
from soak.plan import Fault, Plan
from soak.site import USERS, Site

REST_SECONDS = 8.0
"""Without load, before memory is read."""
TRIM_SECONDS = 20.0
"""The gateway looks at its spare memory every 2 to 16 s."""
RESERVE_SECONDS = 60.0
"""The audit keeps a megabyte or two ahead."""
QUIET_SECONDS = 120.0
"""How long the load without faults may take to its answers."""
QUEUE_SECONDS = 90.0
"""How long the last jobs may take to their end; then they are cancelled."""

Say = Callable[[str], None]


def soak(plan: Plan, site: Site, say: Say, seed: int) -> Findings:
    """Run the plan. Whatever a client did not expect is raised here."""
    chance = random.Random(seed)  # noqa: S311 (when to kill is no secret)
    ledger = Ledger()
    with site.running(own_disk=Fault.DISK in plan.faults):
        with _load(plan, site, ledger, seed):
            _quiet(plan, ledger, say)
            # So that what a search for a lost job takes is in what memory is compared with.
            _break_and_mend(plan, site, ledger, say, Fault.SLURMRESTD)
        before = _memory_at_rest(site)
        with _load(plan, site, ledger, seed + 1):
            for fault in plan.faults:
                _break_and_mend(plan, site, ledger, say, fault)
        after = _memory_at_rest(site, before)
        say(f"memory at rest: {before / 1e6:.1f} MB before the faults, {after / 1e6:.1f} MB after")
        with _load(plan, site, ledger, seed + 2):
            _kill_gateways(plan, site, ledger, say, chance)
            say("waiting for the submissions that are still being repeated")
        listed = _await_jobs(site, say)
        audited = read_audit(site.audit_file.parent)
        return judge(
            ledger,
            audited,
            jobs_run(site.jobs_folder),
            listed,
            memory=(before, after),
            fault_of_chain=site.fault_of_chain(),
        )


@contextmanager
def _load(plan: Plan, site: Site, ledger: Ledger, seed: int) -> Iterator[None]:
    """All clients of all users, until the end; each finishes the submission that it is at."""
    stopped = Event()
    each = roles(plan.submitters)
    running: list[Future[None]] = []
    with ThreadPoolExecutor(len(USERS) * len(each)) as pool:
        for user in USERS:
            for number, role in enumerate(each):
                own = (site.gateway, site.version, site.tokens[user], ledger, site.jobs_name)
                # a seed of its own for each, the same ones with the same seed
                number_seed = hash((seed, USERS.index(user), number))
                running.append(pool.submit(run_role, role, stopped, number_seed, *own))
        try:
            yield
        finally:
            stopped.set()
    for one in running:
        one.result()


def _quiet(plan: Plan, ledger: Ledger, say: Say) -> None:
    began = time.monotonic()
    time.sleep(plan.quiet_seconds)
    wait_until(
        lambda: len(ledger.heard) >= plan.quiet_answers, QUIET_SECONDS, "enough load without faults"
    )
    say(f"load without faults: {len(ledger.heard)} answers in {time.monotonic() - began:.0f} s")


def _break_and_mend(plan: Plan, site: Site, ledger: Ledger, say: Say, fault: Fault) -> None:
    heard, unheard = len(ledger.heard), ledger.unheard
    site.break_it(fault)
    if fault is Fault.DISK:
        _use_up(site, ledger)
    time.sleep(plan.down_seconds)
    site.mend(fault)
    time.sleep(plan.recovery_seconds)
    say(
        f"{fault.value}: {len(ledger.heard) - heard} answers, {ledger.unheard - unheard} lost,"
        " and it serves again"
    )


def _use_up(site: Site, ledger: Ledger) -> None:
    """Read on until the audit's own reserve on the full disk is used up and a request is refused for it."""
    client = Client(site.gateway, site.version, site.tokens["alice"], ledger, site.jobs_name)
    end = time.monotonic() + RESERVE_SECONDS
    while time.monotonic() < end:
        reply = client.ask("read", "GET", "/ping")
        if reply is not None and reply.code in UNRECORDABLE:
            client.close()
            return
    raise RuntimeError("a full disk was not noticed: nothing was refused")


def _kill_gateways(plan: Plan, site: Site, ledger: Ledger, say: Say, chance: random.Random) -> None:
    for number in range(plan.kills):
        heard, unheard = len(ledger.heard), ledger.unheard
        time.sleep(chance.uniform(0.1, plan.longest_life_seconds))
        site.kill_gateway()
        say(
            f"kill -9 of the gateway, {number + 1} of {plan.kills}:"
            f" {len(ledger.heard) - heard} answers, {ledger.unheard - unheard} lost"
        )


def _memory_at_rest(site: Site, most: int = 0) -> int:
    """After REST_SECONDS; if that is more than `most`, the least of what is seen in TRIM_SECONDS more."""
    time.sleep(REST_SECONDS)
    least = site.resident_bytes()
    end = time.monotonic() + (TRIM_SECONDS if most else 0.0)
    while least > most and time.monotonic() < end:
        time.sleep(1.0)
        least = min(least, site.resident_bytes())
    return least


def _await_jobs(site: Site, say: Say) -> dict[str, set[str]]:
    """Wait for all that may run, and return what Slurm lists, by name; then cancel what is held."""
    end = time.monotonic() + QUEUE_SECONDS
    while (left := len(site.jobs("--states=PENDING,RUNNING,COMPLETING", held=False))) and (
        time.monotonic() < end
    ):
        time.sleep(1.0)
    say(f"{left} jobs were left in the queue" if left else "every job that was not held has ended")
    listed = site.jobs("--states=all", held=True)
    cancel_all(site.release.layout)
    return listed
