"""The lab's Slurm 22.05 -> a backend that the variants are put in front of."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.identity import LIFETIME_SECONDS
from benchmarks.scene import Backend
from lab.fleet import in_use, is_in_use
from lab.progress import Progress
from lab.slurm import SlurmRelease

RELEASE = "bookworm"
USER = "alice"


@contextmanager
def real_slurmrestd() -> Iterator[Backend]:
    """Bring the release up; afterwards stop it if nobody had it running before or uses it now."""
    progress = Progress("slurm")
    release = SlurmRelease.named(RELEASE)
    started: list[str] = []
    try:
        with in_use(progress):
            started = release.up(progress)
            yield _backend(release)
    finally:
        if started and not is_in_use():
            release.down(progress)


def _backend(release: SlurmRelease) -> Backend:
    version = release.api_versions[0]
    return Backend(
        name="slurmrestd",
        port=release.ports["slurmrestd"],
        small_target=f"/slurm/{version}/ping",
        large_target=f"/slurm/{version}/jobs",
        upload_target=f"/slurmdb/{version}/qos",
        slurm_user=USER,
        slurm_token=release.token(USER, LIFETIME_SECONDS),
        key_file=release.key_file,
        medium_target=f"/slurm/{version}/nodes",
    )
