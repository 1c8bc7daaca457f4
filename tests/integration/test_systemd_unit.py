"""deploy/systemd/slurm-gateway.service: systemd finds it sound and tight, and the gateway works under it.

systemd is not this machine's first process everywhere, so the restrictions are applied by the kernel's own means
(confined.py); what only systemd gives (a user made for the service, private devices, address lists, memory limits) is
judged by systemd-analyze alone.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import machine, packages
from lab.gateway import audit_sink
from lab.machine import MachineLacksError
from lab.progress import Progress
from lab.toml_text import Settings
from tests.configurations import token_for
from tests.integration.crowd import READ, read_on
from tests.integration.marked_upstream import MarkedUpstream, is_made_of, marked_upstream
from tests.serving import ENVIRONMENT, START_SECONDS, Served, trusting, write_pair

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy/systemd/slurm-gateway.service"
CONFINED = ROOT / "tests/integration/confined.py"
INSTALLED = "/usr/local/bin/slurm-gateway"
MOST_EXPOSURE = 1.5
"""systemd's own sum from 0 to 10; what is left is the network, which a gateway needs."""
UID = 64_321
"""Nobody's, as a DynamicUser's number (61184 to 65519) is."""


@pytest.fixture(scope="module")
def systemd() -> None:
    """systemd's tools; its services are not started."""
    if lacking := machine.missing() or machine.missing_for_chroots():
        pytest.skip("; ".join(lacking))
    try:
        packages.install(packages.GROUPS["systemd"], Progress("packages"))
    except MachineLacksError as lacking_package:
        pytest.skip(str(lacking_package))


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("systemd")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """With a program where the unit expects it."""
    program = Path(sys.executable).parent / "slurm-gateway"
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, str(program)))
    done = analyze("verify", "--man=no", str(unit))
    own = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, own) == (0, [])


@pytest.mark.usefixtures("systemd")
def test_systemd_finds_it_tight() -> None:
    done = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done
    assert float(found[1]) <= MOST_EXPOSURE


class Confined(Served):
    """A gateway under the unit's restrictions, in a folder that its user may enter."""

    def __init__(self, folder: Path, changes: Settings) -> None:
        self.state, self.logs = folder / "state", folder / "logs"
        self.credentials, self.code = folder / "credentials", folder / "code"
        super().__init__(folder, changes)
        for own in (self.state, self.logs):
            own.mkdir(mode=0o700, exist_ok=True)
            os.chown(own, UID, UID)
        self.code.mkdir()
        self._load_credentials()

    def _load_credentials(self) -> None:
        """Root's files, which an access list opens to the service: their mode then shows a group."""
        self.credentials.mkdir(mode=0o750)
        for name in ("jwt_hs256.key", "tls.key"):
            shutil.copy(self.folder / name, self.credentials / name)
            (self.folder / name).chmod(0o400)
            (self.credentials / name).chmod(0o440)
            os.chown(self.credentials / name, 0, UID)
        os.chown(self.credentials, 0, UID)

    def environment(self) -> dict[str, str]:
        """What the unit sets, with %d as systemd fills it in."""
        pairs = re.findall(r"^Environment=(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
        return {
            **ENVIRONMENT,
            **{name: value.replace("%d", str(self.credentials)) for name, value in pairs},
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "PYTHONPATH": str(self.code),
        }

    def command(self, *arguments: str) -> list[str]:
        """The checkout is shown below the folder, because its own place may be closed to others."""
        python = f"{self.code}/.venv/bin/python"
        enter = f'mount --bind {ROOT} {self.code} && exec {sys.executable} {CONFINED} "$@"'
        writable = f"{self.state},{self.logs}"
        return [
            "unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh",
            str(UNIT), str(UID), writable, python, *arguments,
        ]  # fmt: skip

    def start_confined(self) -> None:
        """Instead of start()."""
        gateway = ("-m", "gateway.cli", "serve", "--config", str(self.file))
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(*gateway), stdout=log, stderr=log, env=self.environment()
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    def python(self, code: str) -> str:
        """What a line of Python prints under the same restrictions."""
        return self._output("-c", code)

    def run_confined(self, command: str) -> str:
        """What another command of the gateway prints."""
        return self._output("-m", "gateway.cli", command, "--config", str(self.file))

    def _output(self, *arguments: str) -> str:
        command = self.command(*arguments)
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr.strip().rpartition("\n")[2]

    def status(self) -> dict[str, str]:
        """/proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def upstream() -> Iterator[MarkedUpstream]:
    with marked_upstream({"jobs": 2_000_000}) as running:
        yield running


@pytest.fixture
def confined(upstream: MarkedUpstream, systemd: None) -> Iterator[Confined]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="gateway-"))
    folder.chmod(0o755)
    pair = write_pair(folder)
    audit = {"audit": {"sinks": [audit_sink(folder / "logs/audit.jsonl")]}}
    gateway = Confined(folder, {**pair, **audit, "forward": {"upstream": upstream.url}})
    try:
        yield gateway
    finally:
        if gateway.process is not None:
            gateway.stop()
        shutil.rmtree(folder)


def test_the_gateway_serves_and_reloads_under_the_units_restrictions(confined: Confined) -> None:
    confined.start_confined()
    status = confined.status()
    assert status["Uid"].split() == [str(UID)] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    connection = confined.connect(trusting())
    for path in (READ, "/slurm/v0.0.38/jobs"):
        answered, _, body = read_on(connection, path, token_for("alice"))
        assert answered == 200
        assert is_made_of("alice", body)
    connection.close()
    assert "Generation 2 is in force" in confined.run_confined("reload")
    audit = confined.folder / "logs/audit.jsonl"
    assert audit.stat().st_uid == UID
    assert audit.read_text().count(READ) >= 1
    assert confined.stop() == 0
    assert "Traceback" not in confined.log


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("open('/var/tmp/written', 'w')", "Read-only file system"),
        ("import os; os.sched_setaffinity(0, {0})", "Operation not permitted"),
        ("import os; os.chown('/', -1, -1)", "Operation not permitted"),
        ("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "not permitted"),
        ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "not permitted"),
        ("import mmap; mmap.mmap(-1, 4096, prot=7)", "Permission denied"),
        ("import os; os.setpriority(os.PRIO_PROCESS, 0, 5)", "Operation not permitted"),
    ],
)
def test_what_the_unit_takes_away_is_away(confined: Confined, code: str, refusal: str) -> None:
    """So that the test above runs under restrictions and not beside them."""
    assert refusal in confined.python(code)


def test_what_the_unit_leaves_is_there(confined: Confined) -> None:
    """The same way in, so that the refusals above are not its own."""
    path = confined.state / "written"
    code = f"open('{path}', 'w').write('x'); import socket; socket.socket(socket.AF_UNIX); print('fine')"
    assert confined.python(code) == "fine\n"
    assert path.stat().st_uid == UID
