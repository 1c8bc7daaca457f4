"""A body only where the operation takes one, and no larger than it may be."""

import pytest

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, InboundRequest, Operation, Risk, Target
from gateway.stages.receive_body import CheckBody

SUBMIT = "POST /slurm/*/job/submit"
check = CheckBody(1000, {SUBMIT: 100, "POST /slurm/*/larger": 5000})


def call(method: str, template: str, *, takes_body: bool) -> AuthorizedCall:
    operation = Operation(method, template, Risk.SUBMIT, changes_state=True, takes_body=takes_body)
    return AuthorizedCall(operation, "v0.0.42", b"/", Risk.SUBMIT, "a rule")


def request(method: str, length: int | None) -> InboundRequest:
    return InboundRequest("id", method, Target("/"), None, "", length, "", False, "", "")


submit = call("POST", "/slurm/{version}/job/submit", takes_body=True)
update = call("POST", "/slurm/{version}/job/{job_id}", takes_body=True)
larger = call("POST", "/slurm/{version}/larger", takes_body=True)
requeue = call("POST", "/slurm/{version}/job/{job_id}/requeue", takes_body=False)
cancel = call("DELETE", "/slurm/{version}/job/{job_id}", takes_body=False)
cancel_many = call("DELETE", "/slurm/{version}/jobs", takes_body=True)
listing = call("GET", "/slurm/{version}/jobs", takes_body=False)
odd_listing = call("GET", "/slurm/{version}/odd", takes_body=True)


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        (submit, 1), (submit, 100), (submit, None), (update, 1000), (requeue, 0), (cancel, 0),
        (cancel_many, 0), (cancel_many, 5), (cancel_many, None), (listing, 0), (odd_listing, 0),
    ],
)  # fmt: skip
def test_a_body_that_fits_its_operation_passes(asked: AuthorizedCall, length: int | None) -> None:
    check(request(asked.operation.method, length), asked)


@pytest.mark.parametrize(
    ("asked", "length", "reason"),
    [
        (submit, 0, Reason.BODY_REQUIRED),
        (submit, 101, Reason.BODY_TOO_LARGE),
        (update, 1001, Reason.BODY_TOO_LARGE),
        (larger, 1001, Reason.BODY_TOO_LARGE),
        (requeue, 1, Reason.BODY_UNEXPECTED),
        (requeue, None, Reason.BODY_UNEXPECTED),
        (cancel, 1, Reason.BODY_UNEXPECTED),
        (cancel_many, 1001, Reason.BODY_TOO_LARGE),
        (listing, 1, Reason.BODY_UNEXPECTED),
        (listing, None, Reason.BODY_UNEXPECTED),
        (odd_listing, 1, Reason.BODY_UNEXPECTED),
    ],
)
def test_a_body_that_does_not_fit_is_refused(
    asked: AuthorizedCall, length: int | None, reason: Reason
) -> None:
    with pytest.raises(Denied) as refusal:
        check(request(asked.operation.method, length), asked)
    assert refusal.value.reason is reason


@pytest.mark.parametrize(("asked", "limit"), [(submit, 100), (update, 1000), (larger, 1000)])
def test_the_cap_of_an_operation_is_never_above_the_cap_of_all(
    asked: AuthorizedCall, limit: int
) -> None:
    assert check.limit_for(asked) == limit


def test_without_caps_of_their_own_all_operations_have_the_same() -> None:
    assert CheckBody(7, {}).limit_for(submit) == 7


def test_a_client_is_told_how_large_a_body_may_be() -> None:
    with pytest.raises(Denied) as refusal:
        check(request("POST", 101), submit)
    assert refusal.value.detail == "The body may have at most 100 bytes here."
