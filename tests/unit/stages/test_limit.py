"""The limit stage: who pays for what, and what a refusal says."""

import asyncio

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Risk
from gateway.stages.limit import Limit, Rate, Refusal, charged_class
from tests.fakes import FakeRateStore, make_call, make_identity

RATES = {risk: Rate(risk.lower(), 2, 10) for risk in Risk}


def make_limit(concurrent: int = 16) -> tuple[Limit, FakeRateStore]:
    store = FakeRateStore()
    return Limit(RATES, store, concurrent), store


async def test_requests_within_the_rate_pass_and_the_next_is_refused_with_all_fields() -> None:
    limit, _ = make_limit()
    for _ in range(2):
        (await limit(make_identity(), make_call())).release()
    with pytest.raises(Denied) as refusal:
        await limit(make_identity(), make_call())
    assert refusal.value.reason is Reason.RATE_EXCEEDED
    assert dict(refusal.value.headers) == {
        "Retry-After": "10",
        "RateLimit-Policy": '"read";q=2;w=10',
        "RateLimit": '"read";r=0;t=10',
    }
    assert refusal.value.rule == "limit.rates.read"


async def test_one_subject_does_not_pay_for_another_however_the_names_are_cut() -> None:
    """An issuer and subject that join to the same text are still two."""
    limit, store = make_limit()
    await limit(make_identity(issuer="https://a/b", subject="c"), make_call())
    await limit(make_identity(issuer="https://a", subject="b/c"), make_call())
    assert sorted(store.hits.values()) == [1, 1]


async def test_machines_without_a_subject_are_counted_by_client() -> None:
    limit, store = make_limit()
    await limit(make_identity(subject="", client_id="ci-1", kind="machine"), make_call())
    await limit(make_identity(subject="", client_id="ci-2", kind="machine"), make_call())
    assert len(store.hits) == 2


@pytest.mark.parametrize(
    ("template", "risk", "charged"),
    [
        ("/slurm/{version}/jobs", Risk.READ, Risk.READ),
        ("/slurm/{version}/nodes", Risk.READ, Risk.READ_HEAVY),
        ("/slurm/{version}/node/{node_name}", Risk.READ, Risk.READ),
        ("/slurmdb/{version}/job/{job_id}", Risk.READ, Risk.READ_HEAVY),
        ("/slurmdb/{version}/users", Risk.READ_ACCOUNTING, Risk.READ_ACCOUNTING),
        ("/slurm/{version}/job/submit", Risk.SUBMIT, Risk.SUBMIT),
    ],
)
def test_slurmdb_reads_and_the_node_list_are_heavy(
    template: str, risk: Risk, charged: Risk
) -> None:
    assert charged_class(make_call(template, risk)) is charged


async def test_requests_at_the_same_time_are_capped_per_identity_and_given_back() -> None:
    limit, _ = make_limit(concurrent=1)
    lease = await limit(make_identity(), make_call())
    await limit(make_identity(subject="someone-else"), make_call())
    with pytest.raises(Denied) as refusal:
        await limit(make_identity(), make_call())
    assert refusal.value.reason is Reason.CONCURRENCY_EXCEEDED
    lease.release()
    lease.release()
    (await limit(make_identity(), make_call())).release()
    assert limit._running.keys() == {make_identity(subject="someone-else").key}


def test_every_class_has_a_rate_in_the_configuration() -> None:
    from gateway.config.limit import Rates

    names = {field.alias or name for name, field in Rates.model_fields.items()}
    assert names == {risk.lower() for risk in Risk}


async def test_repeats_pay_as_every_request_does() -> None:
    limit, store = make_limit(concurrent=2)
    once_more = limit.of_repeats(make_identity(), make_call())
    once_more().release()
    (await limit(make_identity(), make_call())).release()
    with pytest.raises(Denied) as ours:
        once_more()
    with pytest.raises(Denied) as theirs:
        await limit(make_identity(), make_call())
    assert (ours.value.rule, ours.value.headers) == (theirs.value.rule, theirs.value.headers)
    assert (list(store.hits.values()), limit._running) == ([2], {})


async def test_repeats_are_capped_together_with_every_other_request() -> None:
    limit, _ = make_limit(concurrent=1)
    once_more = limit.of_repeats(make_identity(), make_call())
    lease = once_more()
    for ask in (once_more, limit.of_repeats(make_identity(), make_call())):
        with pytest.raises(Denied) as refusal:
            ask()
        assert refusal.value.reason is Reason.CONCURRENCY_EXCEEDED
    with pytest.raises(Denied):
        await limit(make_identity(), make_call())
    lease.release()
    lease.release()
    once_more()
    assert limit._running == {make_identity().key: 1}


class SlowStore(FakeRateStore):
    """Answers after everybody has asked, as a store on another machine does."""

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        await asyncio.sleep(0)
        return await super().hit(rate, key)


async def test_requests_that_wait_for_the_store_together_are_no_more_than_the_cap() -> None:
    rates = {risk: Rate("read", 1000, 3600) for risk in Risk}
    limit = Limit(rates, SlowStore(), 5)
    asked = (limit(make_identity(), make_call()) for _ in range(20))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Denied)]
    assert len(refused) == 15
    assert {one.reason for one in refused} == {Reason.CONCURRENCY_EXCEEDED}
