"""An argument list -> what the program prints, within a time and a size, with no shell between."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress

from gateway.stages.credential import CredentialDoubt

MAXIMUM_OUTPUT_BYTES = 65_536
_COMPLAINT_BYTES = 300
_PASSED_ON = ("PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "LD_LIBRARY_PATH")
_SECRET = re.compile(r"SLURM_JWT=\S*|[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def minimal_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What scontrol needs to be found and to find its cluster, and nothing else of the gateway's."""
    return {name: environment[name] for name in _PASSED_ON if name in environment} | {"LC_ALL": "C"}


class RunCommand:
    """Runs programs in a session of their own, which is killed as a whole when its time is over."""

    def __init__(self, environment: Mapping[str, str], limit_seconds: float) -> None:
        self._environment = environment
        self._limit_seconds = limit_seconds

    async def __call__(self, arguments: tuple[str, ...]) -> str:
        """What was printed. Raises CredentialDoubt: not found, too slow, too much, exit status."""
        program = arguments[0]
        try:
            status, output, complaint = await self._run(arguments)
        except TimeoutError:
            raise CredentialDoubt(f"{program} took over {self._limit_seconds:g} s") from None
        except OSError as error:
            raise CredentialDoubt(f"{program} cannot be run: {error.strerror}") from error
        if status:
            raise CredentialDoubt(f"{program} ended with status {status}: {_say(complaint)}")
        if len(output) > MAXIMUM_OUTPUT_BYTES:
            raise CredentialDoubt(f"{program} printed over {MAXIMUM_OUTPUT_BYTES} bytes")
        return output.decode("ascii", errors="replace")

    async def _run(self, arguments: tuple[str, ...]) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limit_seconds):
                output, complaint, status = await asyncio.gather(
                    _first_bytes(process.stdout, MAXIMUM_OUTPUT_BYTES + 1),
                    _first_bytes(process.stderr, _COMPLAINT_BYTES),
                    process.wait(),
                )
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        return status, output, complaint


async def _first_bytes(stream: asyncio.StreamReader | None, count: int) -> bytes:
    """The first `count` bytes; the rest is read and dropped, so that the program can end."""
    kept = b""
    while stream is not None and (piece := await stream.read(65_536)):
        kept += piece[: count - len(kept)]
    return kept


def _say(complaint: bytes) -> str:
    text = complaint.decode("ascii", errors="replace")
    return _SECRET.sub("…", " ".join(text.split())) or "it said nothing"
