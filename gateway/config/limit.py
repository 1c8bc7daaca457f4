"""[limit]: how much one identity, one address and all together may ask for."""

from typing import Annotated

from limits import parse
from pydantic import AfterValidator, Field

from gateway.config.section import Count, Seconds, Section


def check_rate(value: str) -> str:
    """A rate as the `limits` library writes it, such as "50/second" or "600 per 5 minutes"."""
    parse(value)
    return value


Rate = Annotated[str, AfterValidator(check_rate)]


class Rates(Section):
    """Requests per identity, one rate for each class."""

    read: Rate = "50/second"
    read_heavy: Rate = Field(default="2/second", alias="read-heavy")
    read_accounting: Rate = Field(default="2/second", alias="read-accounting")
    read_sensitive: Rate = Field(default="2/second", alias="read-sensitive")
    read_bulk: Rate = Field(default="2/second", alias="read-bulk")
    submit: Rate = "10/second"
    allocate: Rate = "1/second"
    job_write: Rate = Field(default="10/second", alias="job-write")
    job_write_bulk: Rate = Field(default="1/second", alias="job-write-bulk")
    acct_job_write: Rate = Field(default="1/second", alias="acct-job-write")
    admin: Rate = "5/second"
    util: Rate = "10/second"


class Limit(Section):
    """Rates, concurrency, and the queue for slurmrestd's connections."""

    rates: Rates = Rates()
    concurrent_per_identity: Count = 16
    failed_authentications: Rate = "300/minute"
    """Tokens that did not verify, per client address (/64 for IPv6)."""
    queue: Count = 512
    """Requests that wait for a connection to slurmrestd; one more is refused as busy."""
    queue_seconds: Seconds = 30.0
