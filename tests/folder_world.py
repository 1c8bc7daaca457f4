"""A gateway that keeps the promise of Idempotency-Key, and clients of it that are killed at a chosen moment."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from gateway.client.asking import Gateway
from gateway.client.folder.places import Places
from gateway.client.folder.working import Terms
from gateway.client.opening import Cluster
from gateway.client.place import Place
from gateway.client.runs.run_folder import Clock, Wish, work_off
from gateway.client.trouble import Trouble
from tests.client_world import Heard, ScriptedGateway, Told

VERSION = "v0.0.42"
SUBMIT = f"POST /slurm/{VERSION}/job/submit"
SCRIPT = "#!/bin/sh\n#SBATCH -D /tmp -J {name}\ntrue\n"
WHOSE = "alice of a test"
EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "socket.connect"})
"""What the interpreter announces of the steps on a disk and to the gateway, before each is done."""
KILLED = -signal.SIGKILL


class FolderGateway(ScriptedGateway):
    """One key is one job; told answers to a submission come first, and a told job ends otherwise."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.names: dict[str, list[str]] = {}
        """Of the jobs, by key."""
        self.ends: dict[str, tuple[str, int]] = {}
        """(state, exit code) by job name; COMPLETED with 0 for all others."""
        self.first: list[Told | None] = []
        """Answers to the next submissions, whose jobs are not made; None makes one and hangs up."""
        self.lasts = 0
        """How often each job is still running when somebody asks."""
        self.most_open = 0
        """The most jobs that were ever open at once."""
        self._asked: dict[int, int] = {}
        self._bodies: dict[str, bytes] = {}
        self._jobs: list[str] = []
        self._lock = threading.Lock()

    def submissions(self) -> list[str]:
        """The names of all jobs that were made, in order."""
        return list(self._jobs)

    def reply(self, heard: Heard) -> Told | None:
        with self._lock:
            if f"{heard.method} {heard.target}" == SUBMIT:
                return self._submitted(heard)
            if heard.method == "GET" and "/job/" in heard.target and "/slurm/" in heard.target:
                return self._shown(heard)
        return super().reply(heard)

    def _submitted(self, heard: Heard) -> Told | None:
        told = self.first.pop(0) if self.first else Told()
        if told is not None and told.content:
            return told
        key = heard.headers["idempotency-key"]
        if self._bodies.setdefault(key, heard.body) != heard.body:
            return Told(422, {"code": "idempotency-key-reused"}, "application/problem+json")
        if key not in self.names:
            name = json.loads(heard.body)["job"]["name"]
            self._jobs.append(name)
            self.names[key] = [name, str(len(self._jobs))]
            self._asked[len(self._jobs)] = 0
            open_now = [one for one in self._asked.values() if one <= self.lasts]
            self.most_open = max(self.most_open, len(open_now))
        return None if told is None else Told(200, {"job_id": int(self.names[key][1])})

    def _shown(self, heard: Heard) -> Told:
        asked = f"{heard.method} {heard.target}"
        if (known := self._answers.get(asked)) is not None:
            return known.pop(0) if len(known) > 1 else known[0]
        number = int(heard.target.rpartition("/")[2])
        self._asked[number] += 1
        state, code = self.ends.get(self._jobs[number - 1], ("COMPLETED", 0))
        if self._asked[number] <= self.lasts:
            state = "RUNNING"
        job = {
            "job_id": number,
            "job_state": [state],
            "exit_code": {"return_code": {"set": True, "number": code}},
        }
        return Told(200, {"jobs": [job]})


class Hours:
    """A clock that goes on when somebody waits, and at no other time."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds += max(seconds, 0.01)


def work(
    url: str,
    folder: Path,
    tell: Callable[[str, str], None] = lambda _name, _what: None,
    whose: str = WHOSE,
    **wish: Any,
) -> int:
    """One run-folder with --once, in no time. Raises Trouble."""
    places = Places(folder)
    places.prepare()
    with httpx2.Client(timeout=60, follow_redirects=False) as http:
        gateway = Gateway(Place(url), http, lambda refused="": "token-of-a-test")
        terms = Terms(whose, {})
        wishes = Wish(**{"settle_seconds": 0.5, "once": True, **wish})
        return work_off(places, Cluster(gateway, VERSION), terms, wishes, tell, clock=Hours().clock)


def _in_a_child(act: Callable[[], int]) -> int:
    """Its exit code; negative where a signal ended it."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = act()
        except Trouble as trouble:
            code = int(trouble.code)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed_at(number: int, act: Callable[[], int]) -> int:
    left = [number]

    def hook(event: str, _: object) -> None:
        if event in EVENTS:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return act()


def _limited_to(size: int, act: Callable[[], int]) -> int:
    """No file grows beyond `size`, as on a disk that is full (the error is another, and is handled alike)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return act()


def drop(folder: Path, *names: str) -> None:
    """Job files, whose jobs are called by the folder and the file."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(SCRIPT.format(name=f"{folder.name}-{name}"))


def main(url: str, root: str, how: str, at_once: str) -> None:
    """Break a run-folder off at each moment in turn, until one is through; each time a second one goes on."""
    drop(Path(root, "warm"), "a.sh")
    work(url, Path(root, "warm"))  # whatever is loaded late is loaded now
    codes = []
    for number in range(400):
        folder = Path(root, str(number))
        drop(folder, "a.sh", "b.sh")

        def act(folder: Path = folder) -> int:
            return work(url, folder, at_once=int(at_once))

        def broken(number: int = number, act: Callable[[], int] = act) -> int:
            return _killed_at(number, act) if how == "kill" else _limited_to(number * 40, act)

        first = _in_a_child(broken)
        codes.append([first, _in_a_child(act)])
        if first == 0:
            break
    print(json.dumps(codes))  # noqa: T201 (it is what the test reads)


if __name__ == "__main__":
    main(*sys.argv[1:])


def names(folder: Path) -> list[str]:
    """Of all that is in it."""
    return sorted(path.name for path in folder.iterdir())


def answer_of(file: Path) -> dict[str, Any]:
    """What `run-folder` wrote beside it."""
    answer: dict[str, Any] = json.loads(file.with_name(f"{file.name}.answer.json").read_text())
    return answer
