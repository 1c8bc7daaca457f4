"""What several rules together ask of one sign-in, so that a browser is led through it once and not for ever."""

import pytest

from gateway.denial import Denied
from gateway.model import Browser
from gateway.users.assurance import Assurance, StepUp, together
from tests.fakes import FakeClock, make_identity, make_request


@pytest.mark.parametrize(
    ("several", "one"),
    [
        ([Assurance(("a",)), Assurance((), 900.0)], Assurance(("a",), 900.0)),
        ([Assurance(("b", "a")), Assurance(("a", "b", "c"))], Assurance(("b", "a"))),
        ([Assurance((), 60.0), Assurance((), 900.0)], Assurance((), 60.0)),
        ([Assurance(("a",)), Assurance(("b",))], None),
        ([Assurance(("a",))], Assurance(("a",))),
    ],
)
def test_rules_on_one_call_ask_for_one_sign_in(
    several: list[Assurance], one: Assurance | None
) -> None:
    assert together(several) == one


def refused(*wanted: Assurance, acr: str) -> Denied:
    step_up = StepUp({}, lambda acr_values, age: f"{acr_values}|{age}", FakeClock())
    browser = Browser(None, "same-origin", True, "")
    request = make_request(method="GET", browser=browser)
    with pytest.raises(Denied) as caught:
        step_up.require(request, make_identity(acr=acr, auth_time=None), wanted, "step_up[X]")
    return caught.value


def test_whoever_meets_one_rule_and_not_the_other_is_asked_for_both_at_once() -> None:
    """Asked for the other alone, the new sign-in could lack what the old one had, and so on without end."""
    denied = refused(Assurance(("a",)), Assurance((), 900.0), acr="a")
    headers = dict(denied.headers)
    assert headers["WWW-Authenticate"] == "a|900"
    assert headers["Refresh"].endswith("&acr_values=a&max_age=900")


def test_rules_that_no_sign_in_can_meet_lead_nobody_anywhere() -> None:
    denied = refused(Assurance(("a",)), Assurance(("b",)), acr="a")
    assert "Refresh" not in dict(denied.headers)
    assert dict(denied.headers)["WWW-Authenticate"] == "b|"
