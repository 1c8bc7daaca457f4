"""[idempotency]: how long Idempotency-Keys of submissions are kept, and how a lost answer is looked for."""

from typing import Literal, Self

from pydantic import model_validator

from gateway.config.section import Bytes, Count, Seconds, Section


class Idempotency(Section):
    """Idempotency-Key on job/submit: no retry runs a job twice."""

    enabled: bool = True
    """Without it a submission that carries a key is refused."""
    keep_seconds: Seconds = 86_400.0
    """How long a key and its answer are remembered, from its last submission."""
    wait_seconds: Seconds = 45.0
    """How long a request waits for an earlier one with its key, or for settle_seconds to pass."""
    settle_seconds: Seconds = 20.0
    """After a broken submission, until an absent job counts as absent: two MessageTimeouts of Slurm."""
    job_age_seconds: Seconds = 300.0
    """Slurm's MinJobAge or less: later than this nothing is submitted again, because an ended job may be gone."""
    marker_field: Literal["comment", "extra"] = "comment"
    """The job's field that the marker is appended to. Before v0.0.40 there is no "extra", and it is "comment"."""
    maximum_answer_bytes: Bytes = 65_536
    """Of a longer answer only the job's number is remembered."""
    maximum_keys: Count = 20_000
    """Keys remembered for one identity; one more is 429."""
    maximum_keys_in_all: Count = 1_000_000
    """Keys remembered altogether, at about 1 kB each in the state directory."""
    maximum_list_bytes: Bytes = 134_217_728
    """The longest list of jobs that is searched for a lost one, in memory and one at a time."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.wait_seconds < self.settle_seconds:
            raise ValueError("wait_seconds must not be less than settle_seconds")
        if self.job_age_seconds <= self.settle_seconds:
            raise ValueError("job_age_seconds must be more than settle_seconds")
        return self
