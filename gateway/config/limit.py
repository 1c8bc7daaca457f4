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
    """Plain reads."""
    read_heavy: Rate = Field(default="2/second", alias="read-heavy")
    """Reads that cost Slurm much, slurmdb and the node list among them."""
    read_accounting: Rate = Field(default="2/second", alias="read-accounting")
    """Users, accounts and associations."""
    read_sensitive: Rate = Field(default="2/second", alias="read-sensitive")
    """Job scripts, environments and what else may hold secrets."""
    read_bulk: Rate = Field(default="2/second", alias="read-bulk")
    """Reads of everything at once."""
    submit: Rate = "10/second"
    """Job submissions."""
    allocate: Rate = "1/second"
    """Allocations without a batch script."""
    job_write: Rate = Field(default="10/second", alias="job-write")
    """Updates, signals and cancels of one job."""
    job_write_bulk: Rate = Field(default="1/second", alias="job-write-bulk")
    """The same for many jobs at once."""
    acct_job_write: Rate = Field(default="1/second", alias="acct-job-write")
    """Changes to job records in the accounting."""
    admin: Rate = "5/second"
    """Changes to the cluster."""
    util: Rate = "10/second"
    """Helpers that neither read the cluster nor change it."""
    mint_token: Rate = Field(default="6/minute", alias="mint-token")
    """Slurm tokens for users to keep."""


class Limit(Section):
    """Rates, concurrency, and the queue for slurmrestd's connections."""

    rates: Rates = Rates()
    concurrent_per_identity: Count = 16
    """Requests of one identity at the same time; one more is 429."""
    failed_authentications: Rate = "300/minute"
    """Tokens that did not verify, per client address (/64 for IPv6); the same again for genuine ones that ended."""
    failed_authentications_per_subject: Rate = "20/minute"
    """Tokens that did not verify, per client address and claimed subject."""
    anonymous_requests: Rate = "1200/minute"
    """Requests without a token, per client address (/64 for IPv6); the gateway's own pages count too."""
    longest_refusal_seconds: Seconds = 900.0
    """Whoever goes on failing is refused for twice as long each time, up to this."""
    queue: Count = 512
    """Requests that wait for a connection to slurmrestd; one more is refused as busy."""
    queue_seconds: Seconds = 30.0
    """How long a request waits there before it is refused as busy."""
