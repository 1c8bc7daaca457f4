"""What the pages of the sign-in are made of, and how they say no."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fastapi import Request, Response

from gateway.denial import Denied, Reason
from gateway.model import ClusterUser, Identity
from gateway.pipeline import note_denial
from gateway.sign_in.desk import Desk, SignInRefused
from gateway.sign_in.guard import Known, SessionGuard
from gateway.sign_in.provider import ProviderDoubt
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import SessionDoubt, SessionStore
from gateway.stages.authenticate import FailureBudget, count_forged
from gateway.web.sign_in.asked import FormTokens, record_of, visiting_browser
from gateway.web.sign_in.cookies import no_session_cookie
from gateway.web.sign_in.pages import Pages, with_cookies

_RETRY = (("Retry-After", "5"),)
_LATER: Final = "Try again in a minute. If it stays so, tell the administrators."
_ADVICE: Final = {
    Reason.PROVIDER_UNAVAILABLE: _LATER,
    Reason.KEYS_UNAVAILABLE: _LATER,
    Reason.SESSIONS_UNAVAILABLE: _LATER,
    Reason.SESSION_ENDED: "Nothing was changed. Sign in again to go on.",
    Reason.CROSS_SITE_REQUEST: "Nothing was changed. Open the page anew and use its own buttons.",
    Reason.PAGE_UNKNOWN: "Check the address. Your own page is “My access”, after signing in.",
    Reason.TARGET_MALFORMED: "The link that led here is broken. Begin again.",
    Reason.HEADER_MALFORMED: (
        "The browser sent a cookie that is not as it was set. It has been told to forget it:"
        " begin again. If it stays so, delete this site's cookies."
    ),
    Reason.AUTHENTICATION_THROTTLED: (
        "Too many sign-ins from your network have failed. Wait a few minutes, then begin again."
    ),
}
"""What a person can do about it, for refusals that say it nowhere else."""


class AllowedClass(NamedTuple):
    """What somebody may call of one class, and how often: "600/minute"."""

    risk: str
    rate: str
    operations: tuple[str, ...]


class Access(NamedTuple):
    """What a user's roles come to."""

    classes: Sequence[AllowedClass]
    concurrent: int


@dataclass(frozen=True, slots=True)
class Leave:
    """How to sign out at a provider: a form's URL, method and fields."""

    url: str
    method: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class House:
    """One generation's. `leave` takes the client's name and an ID token; None where there is nothing to do."""

    desk: Desk
    failures: FailureBudget
    guard: SessionGuard
    store: SessionStore
    contents: Sealer
    flows: Sealer
    forms: FormTokens
    pages: Pages
    map_user: Callable[[Identity], Awaitable[ClusterUser]]
    access: Callable[[ClusterUser], Access]
    leave: Callable[[str, str], Awaitable[Leave | None]]

    async def visiting(self, request: Request, *, is_page: bool = True) -> Known:
        """Whose session asks for a page. Raises Denied."""
        browser, record = visiting_browser(request), record_of(request)
        try:
            known = await self.guard.find(browser, request.method, is_page=is_page)
        except Denied:
            if browser.session is not None and self.guard.is_forged(browser.session):
                await count_forged(self.failures, record.client_address, browser.session)
            raise
        record.identity = known.identity
        return known

    def refusal(self, request: Request, denied: Denied, advice: str = "") -> Response:
        """A page that says what happened and what to do; the audit has the note."""
        record = record_of(request)
        note_denial(record, denied)
        reason = denied.reason
        page = self.pages(
            "refused.html",
            reason.status,
            title=reason.sentence.rstrip("."),
            detail=denied.detail if denied.detail != reason.sentence else "",
            advice=advice or _ADVICE.get(reason, ""),
            code=reason.code,
            request_id=record.request_id,
        )
        for name, value in denied.headers:
            page.headers[name] = value
        if reason is Reason.HEADER_MALFORMED:  # nobody could sign in again with it
            return with_cookies(page, [no_session_cookie()])
        return page


def as_denied(error: Exception) -> tuple[Denied, str]:
    """What signing in can end with, as a refusal and its advice."""
    match error:
        case SignInRefused():
            return Denied(Reason.SIGN_IN_REFUSED, str(error)), error.advice
        case ProviderDoubt():
            return Denied(Reason.PROVIDER_UNAVAILABLE, str(error), headers=_RETRY), ""
        case SessionDoubt():
            return Denied(Reason.SESSIONS_UNAVAILABLE, str(error), headers=_RETRY), ""
        case Denied():
            return error, ""
        case _:
            raise error
