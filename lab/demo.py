"""A machine with nothing on it -> a job that ran through the gateway as the user who asked for it, for all to see."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from lab import certificates, machine, ports
from lab.demo_client import demonstrate_client
from lab.fleet import in_use, is_in_use
from lab.gateway import Answer, GatewayProcess, settings_for, sign_in_settings
from lab.identity_provider import IdentityProvider
from lab.identity_provider.provider import GROUPS
from lab.places import CHECKOUT, is_locked, locked, state_root, write_private
from lab.processes import LabError, wait_until
from lab.progress import Progress
from lab.releases import releases
from lab.slurm import SlurmRelease
from lab.submission import FINAL, exit_code_of, state_of, submission, user_of

FOLDER = state_root() / "gateway"
USER = "alice"
SCRIPT = """#!/bin/bash
echo "I am $(id -un), uid $(id -u), on $(hostname), job $SLURM_JOB_ID."
"""
BY_HAND = "/tmp/slurm-gateway-by-hand"  # noqa: S108 - written by the job's user
JOB_SECONDS = 60.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
REFRESH_SECONDS = 300.0
"""A third of a token's life, so that the printed curl lines go on working."""


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: time to stop everything that was started."""


def demonstrate(*, once: bool, port: int, folder: Path = FOLDER) -> int:
    """Bring everything up, run one job, and stay until Ctrl-C unless once. The exit code.

    A folder holds the gateway's files; demos in different folders may run at the same time.
    """
    machine.require()
    progress = Progress("demo")
    if is_locked(folder / "lock"):
        raise LabError(
            "another demo of this checkout is running; stop it with Ctrl-C there, or type: make stop"
        )
    with ExitStack() as stack:
        stack.enter_context(locked(folder / "lock", progress, "another demo"))
        stack.enter_context(_signals_as_exceptions())
        try:
            gateway, provider, release = _bring_up(stack, progress, folder, port)
            run = Run(gateway, release, provider.token_for(USER))
            done = run.perform(progress, stack)
            _print_title("The same with the command line")
            done = demonstrate_client(gateway, release, provider.token_for(USER), USER) and done
            if not once:
                _stay(gateway, provider, release, run)
        except Stopped:
            return INTERRUPTED if once else 0
        finally:
            _ignore_signals()  # the way out must not be cut short
            progress.say("stopping everything that was started")
    return 0 if done else 1


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise Stopped

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _ignore_signals() -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def _bring_up(
    stack: ExitStack, progress: Progress, folder: Path, port: int
) -> tuple[GatewayProcess, IdentityProvider, SlurmRelease]:
    """Slurm, the provider and the gateway; whatever of them is started here is stopped with the stack."""
    release = SlurmRelease(releases()[0])
    _start_slurm(stack, release, progress)
    name = f"demo-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    ca_file = certificates.ensure(folder).authority
    provider = IdentityProvider(name, audience=f"https://localhost:{port}", ca_file=ca_file)
    stack.callback(provider.down)
    provider.up(progress)
    settings = _settings(release, provider, folder, port)
    gateway = _start_gateway(stack, GatewayProcess(folder, settings), port, progress)
    return gateway, provider, release


def _start_slurm(stack: ExitStack, release: SlurmRelease, progress: Progress) -> None:
    held = ExitStack()
    held.enter_context(in_use(progress))
    before = release.running()

    def stop() -> None:
        held.close()
        ours = [name for name in release.running() if name not in before]
        if is_in_use():
            progress.say("Slurm is left running: another process uses it")
        elif not before:
            release.down(progress)
        else:
            for name in reversed(ours):
                release.stop(name)

    stack.callback(stop)
    release.up(progress)


def _settings(
    release: SlurmRelease, provider: IdentityProvider, folder: Path, port: int
) -> dict[str, Any]:
    operations_port = ports.choose_ports(folder, ("operations",))["operations"]
    settings = settings_for(release, provider, folder, port, operations_port)
    return {**settings, **sign_in_settings(provider, folder)}


def _start_gateway(
    stack: ExitStack, gateway: GatewayProcess, port: int, progress: Progress
) -> GatewayProcess:
    gateway.stop()  # one that an earlier demo could not stop, because it was killed
    if not ports.is_free(port):
        raise LabError(f"port {port} is taken; type: make demo PORT={port + 1000}")
    stack.callback(gateway.stop)
    with progress.step(f"starting the gateway on {gateway.url}"):
        gateway.start()
    return gateway


class Run:
    """One job through the gateway, and what is to be seen of it."""

    def __init__(self, gateway: GatewayProcess, release: SlurmRelease, token: str) -> None:
        self._gateway = gateway
        self._release = release
        self._token = token
        self._version = release.api_versions[0]
        self._output = f"/tmp/slurm-gateway-demo-{secrets.token_hex(4)}.out"  # noqa: S108 - written by the job's user
        self.job_id = 0

    def perform(self, progress: Progress, stack: ExitStack) -> bool:
        """Submit, wait, show. Whether the job COMPLETED as the user whose token it was."""
        stack.callback(lambda: self._release.path_of(self._output).unlink(missing_ok=True))
        body = submission(self._version, SCRIPT, name="demo", output=self._output)
        submitted = self._ask("POST", "job/submit", body)
        self.job_id = int(submitted.json()["job_id"])
        with progress.step(
            f"job {self.job_id} of {USER} was submitted through the gateway; waiting for its end"
        ):
            job = self._wait()
        return self._show(job, str(submitted.headers["X-Request-Id"]))

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        target = f"/slurm/{self._version}/{path}"
        answer = self._gateway.ask(method, target, self._token, body)
        if answer.status != 200:
            raise LabError(
                f"{method} {target}: {answer.status} {answer.body.decode(errors='replace')[:2000]}"
            )
        return answer

    def _wait(self) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = []

        def is_over() -> bool:
            jobs[:] = self._ask("GET", f"job/{self.job_id}").json()["jobs"]
            time.sleep(0.2)
            return state_of(jobs[0]) in FINAL

        wait_until(is_over, JOB_SECONDS, f"the end of job {self.job_id}")
        return jobs[0]

    def _show(self, job: dict[str, Any], request_id: str) -> bool:
        file = self._release.path_of(self._output)
        wait_until(file.exists, 10, f"the job's output in {file}")
        owner = self._release.owner_of(self._output)
        record = self._gateway.audit_record(request_id)
        _print_title("The job")
        print(
            f"job {self.job_id}: {state_of(job)}, exit code {exit_code_of(job)}, Slurm user {user_of(job)}"
        )
        print(f"output, owned by {owner}: {file.read_text().strip()}")
        _print_title(f"The audit's record of its submission ({_short(self._gateway.audit_file)})")
        print(json.dumps(record, indent=2))
        sys.stdout.flush()
        seen = (state_of(job), exit_code_of(job), user_of(job), owner)
        if seen == ("COMPLETED", 0, USER, USER):
            return True
        print(f"\nNOT as it should be: COMPLETED with 0 as {USER}, in a file of {USER}'s")
        return False


def _print_title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def _short(path: Path) -> str:
    """A path as one types it in the checkout."""
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else str(path)


def _stay(
    gateway: GatewayProcess, provider: IdentityProvider, release: SlurmRelease, run: Run
) -> None:
    """Print how to go on, and keep the token that is printed fresh until somebody stops it."""
    header = gateway.folder / f"{USER}.header"
    body = gateway.folder / "job.json"
    version = release.api_versions[0]
    _write_for_the_user(header, f"Authorization: Bearer {provider.token_for(USER)}\n")
    by_hand = submission(version, SCRIPT, name="by-hand", output=f"{BY_HAND}-%j.out")
    _write_for_the_user(body, json.dumps(by_hand) + "\n")
    curl = f"curl --cacert {_short(gateway.ca_file)} -H @{_short(header)}"
    api = f"{gateway.url}/slurm/{version}"
    _print_title("Go on with")
    print(f"{curl} {api}/jobs")
    print(f"{curl} {api}/job/{run.job_id}")
    print(f"{curl} -H 'Content-Type: application/json' -d @{_short(body)} {api}/job/submit")
    print(f"cat {release.path_of(BY_HAND)}-*.out")
    print(f"{curl} -X DELETE {api}/job/{run.job_id}")
    print(f"{curl} -H 'X-SLURM-USER-NAME: root' {api}/diag      # still {USER}")
    print(f"{curl} {gateway.url}/slurm/v0.0.42/reconfigure      # refused, and the audit says why")
    print(f"tail -f {_short(gateway.audit_file)}")
    print(
        f"The OpenID provider is {provider.issuer}; the configuration is {_short(gateway.configuration_file)}."
    )
    _invite(gateway, provider)
    _keep_fresh(
        lambda: _write_for_the_user(header, f"Authorization: Bearer {provider.token_for(USER)}\n"),
        gateway,
    )


def _invite(gateway: GatewayProcess, provider: IdentityProvider) -> None:
    """The last lines: where one signs in, as whom, and how past the browser's warning."""
    ports = " ".join(f"-L {port}:localhost:{port}" for port in _ports_of(gateway, provider))
    _print_title("With a browser")
    print("Ctrl-C stops everything that was started. Until then, sign in at the address below.")
    print(f"The name is enough, there are no passwords: {', '.join(GROUPS)}.")
    print("bob is an operator; dave and root sign in and are no users of the cluster.")
    print(
        "The certificate is the demo's own, which the browser warns of: choose Advanced, Proceed."
    )
    print(f"From another machine, first: ssh {ports} {socket.gethostname()}")
    print(f"\n{gateway.url}/me", flush=True)


def _ports_of(gateway: GatewayProcess, provider: IdentityProvider) -> list[int | None]:
    return [urlsplit(url).port for url in (gateway.url, provider.issuer)]


def _keep_fresh(refresh: Callable[[], None], gateway: GatewayProcess) -> None:
    ever = threading.Event()
    next_refresh = time.monotonic() + REFRESH_SECONDS
    while not ever.wait(1.0):
        if gateway.pid is None:
            raise LabError(f"the gateway ended; its log is {_short(gateway.log)}")
        if time.monotonic() > next_refresh:
            refresh()
            next_refresh = time.monotonic() + REFRESH_SECONDS


def _write_for_the_user(path: Path, text: str) -> None:
    """A private file for whoever typed the command, also where it runs through sudo."""
    write_private(path, text.encode())
    if user := os.environ.get("SUDO_UID"):
        os.chown(path, int(user), -1)
