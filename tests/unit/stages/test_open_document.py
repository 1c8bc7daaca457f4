"""Documents without a token: who is let through, and that nothing acts for them."""

from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Identity, InboundRequest, Secret, Target
from gateway.stages.open_document import Nobody, NobodyIsNobody, NothingForNobody, OrNobody
from tests.fakes import StageDouble, make_credential, make_identity, make_request, make_user

PATHS = frozenset({"/openapi/v3"})


def stage(answer: object) -> Any:
    """Any one stage, that answers or refuses so."""
    return StageDouble("stage", [], answer).decide_later


async def authenticated(request: InboundRequest, answer: object) -> Identity:
    return await OrNobody(stage(answer), PATHS)(request)


def without_token(path: str = "/openapi/v3", method: str = "GET") -> InboundRequest:
    return make_request(method=method, target=Target(path), bearer=None)


async def test_a_missing_token_is_nobody_and_a_good_one_is_its_owner() -> None:
    missing = Denied(Reason.TOKEN_MISSING)
    assert isinstance(await authenticated(without_token(), missing), Nobody)
    known = make_identity()
    assert await authenticated(make_request(target=Target("/openapi/v3")), known) is known


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/openapi/v3", Reason.TOKEN_INVALID),
        ("GET", "/openapi/v3", Reason.AUTHENTICATION_THROTTLED),
        ("GET", "/openapi/v3", Reason.KEYS_UNAVAILABLE),
        ("POST", "/openapi/v3", Reason.TOKEN_MISSING),
        ("GET", "/openapi/v2", Reason.TOKEN_MISSING),
        ("GET", "/slurm/v0.0.42/jobs", Reason.TOKEN_MISSING),
    ],
)
async def test_everything_else_is_refused_as_ever(method: str, path: str, reason: Reason) -> None:
    with pytest.raises(Denied) as refused:
        await authenticated(without_token(path, method), Denied(reason))
    assert refused.value.reason is reason


async def test_nobody_is_counted_by_the_network_of_one_host() -> None:
    async def key(address: str) -> tuple[str, str]:
        request = without_token()._replace(client_address=address)
        return (await authenticated(request, Denied(Reason.TOKEN_MISSING))).key

    assert await key("192.0.2.1") != await key("192.0.2.2")
    assert await key("2001:db8::1") == await key("2001:db8::2") != await key("2001:db8:0:1::1")
    assert await key("unix") == ("", "nobody at unix")


async def test_no_stage_acts_for_nobody() -> None:
    """The stages behind would fail the test if they were asked."""
    never = stage(AssertionError("asked"))
    nobody = await authenticated(without_token(), Denied(Reason.TOKEN_MISSING))
    user = await NobodyIsNobody(never)(nobody)
    assert (user.name, user.roles) == ("nobody", ("user",))
    credential = await NothingForNobody(never)(nobody, user, None)
    assert (credential.user, credential.token.reveal) == ("nobody", "none")
    assert credential.is_callers


async def test_everybody_else_goes_on_to_the_stages() -> None:
    user, credential = make_user(), make_credential()
    known = make_identity()
    assert await NobodyIsNobody(stage(user))(known) is user
    issue = NothingForNobody(stage(credential))
    assert await issue(known, user, Secret("t")) is credential
