"""(method, path, body) -> the gateway's JSON answer, or the one sentence that says why there is none."""

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx2

from gateway.client.capped import MOST_BYTES, cap
from gateway.client.place import LOOPBACK, Place
from gateway.client.refusals import explain_refusal, explain_slurm, retry_after_in
from gateway.client.trouble import Exit, Trouble, printable

_UNAUTHENTICATED, _NOT_FOUND, _TOO_MANY = 401, 404, 429
_TURNS, _LONGEST_TURN_SECONDS = 5, 10
_FIRST_ERROR = 400
_REDIRECTS = range(300, 400)
_AWAY = frozenset({502, 503, 504})
"""With words that are no gateway's: a proxy in front of it has nobody to ask."""
_VERSION = "slurm-gateway"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750 section 2.1."""
DIRECT: Mapping[str, httpx2.BaseTransport | None] = {
    f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK
}
"""No proxy stands between this machine and itself: plain http goes there, and a proxy would read it."""


class AccessToken(Protocol):
    """Where the token of the next request comes from."""

    def __call__(self, *, refused: str = "") -> str:
        """A token; another one than the `refused`, where there can be one. Raises Trouble."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said: always JSON, never a refusal of its own."""

    status: int
    headers: Mapping[str, str]
    content: Mapping[str, Any]


def open_http(
    ca_file: Path | None, timeout_seconds: float, most_bytes: int = MOST_BYTES
) -> httpx2.Client:
    """A client that trusts the system's authorities, or those of the file alone, and follows no redirect.

    An answer of more than `most_bytes`, or a compressed one, raises Trouble.
    """
    return httpx2.Client(
        verify=trusted(ca_file),
        timeout=timeout_seconds,
        follow_redirects=False,
        mounts=DIRECT,
        headers={
            "User-Agent": _VERSION,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },
        event_hooks={"response": [partial(cap, most_bytes=most_bytes)]},
    )


def trusted(ca_file: Path | None) -> ssl.SSLContext | bool:
    """The authorities of a file, or True for the system's. Raises Trouble."""
    try:
        return True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError):
        raise Trouble(
            Exit.NO_INPUT,
            f"{ca_file} cannot be read as a file of authorities.",
            "name a readable PEM file with --ca-file",
        ) from None


@contextmanager
def reaching(whom: str) -> Iterator[None]:
    """Turn what goes wrong on the way to somebody into a sentence about them."""
    try:
        yield
    except httpx2.TimeoutException:
        raise Trouble(
            Exit.UNAVAILABLE, f"{whom} gave no answer in time.", "try again, or raise --timeout"
        ) from None
    except (httpx2.ConnectError, httpx2.ReadError) as error:
        trouble = _unreached(whom, error)
        trouble.never_ran = isinstance(error, httpx2.ConnectError)
        raise trouble from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise Trouble(
            Exit.UNAVAILABLE, f"{whom} cannot be asked: {printable(error)}.", "try again"
        ) from None


def _unreached(whom: str, error: Exception) -> Trouble:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return Trouble(
            Exit.UNAVAILABLE,
            f"The certificate of {whom} is not trusted: {printable(text)}.",
            "if the site has an authority of its own, name its certificate with --ca-file",
        )
    return Trouble(
        Exit.UNAVAILABLE,
        f"{whom} cannot be reached: {printable(text)}.",
        "check the address and the network, then try again",
    )


class Gateway:
    """One gateway, asked as whoever the token belongs to."""

    def __init__(
        self,
        place: Place,
        http: httpx2.Client,
        token: AccessToken,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.place = place
        self._http = http
        self._token = token
        self._sleep = sleep

    def token(self) -> str:
        """The token of the next request; a secret. Raises Trouble."""
        return self._token()

    def ask(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An answer that is no refusal. Raises Trouble.

        A token that the gateway does not take is replaced once, and what came too often is asked
        again when the gateway says so: neither was ever sent on.
        """
        question = _Question(method, path, parameters, body, headers or {})
        response = self._ask_once(question)
        for _ in range(_TURNS):
            pause = _pause_seconds(response)
            if pause is None:
                break
            self._sleep(pause)
            response = self._ask_once(question)
        return read_answer(response, self.place.url)

    def _ask_once(self, question: "_Question") -> httpx2.Response:
        token = self._token()
        response = self._send(question, token)
        if response.status_code == _UNAUTHENTICATED:
            renewed = self._token(refused=token)
            if renewed != token:
                response = self._send(question, renewed)
        return response

    def _send(self, question: "_Question", token: str) -> httpx2.Response:
        _check_form(token)
        sent = {"Authorization": f"Bearer {token}", **question.headers}
        content = None if question.body is None else json.dumps(question.body).encode()
        if content is not None:
            sent["Content-Type"] = "application/json"
        with reaching(f"The gateway {self.place.url}"):
            return self._http.request(
                question.method,
                self.place.join(question.path),
                params=question.parameters,
                content=content,
                headers=sent,
            )


def _check_form(token: str) -> None:
    """The error of a header field that cannot be sent would quote the token. Raises Trouble."""
    if not _TOKEN.fullmatch(token):
        raise Trouble(
            Exit.NOT_PERMITTED,
            "The access token is none: it is empty, or has a space, a line break or another letter in it.",
            "look at where it comes from; it should stand there alone",
        )


def _pause_seconds(response: httpx2.Response) -> float | None:
    """How long to wait for one's turn; None where that is not the matter, or too long to wait here."""
    if response.status_code != _TOO_MANY or not _is_problem(response):
        return None
    after = retry_after_in(response.headers)
    return float(after) if after is not None and after <= _LONGEST_TURN_SECONDS else None


def _is_problem(response: httpx2.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith("application/problem+json")


class _Question(NamedTuple):
    method: str
    path: str
    parameters: Mapping[str, str] | None
    body: object
    headers: Mapping[str, str]


def read_answer(response: httpx2.Response, url: str) -> Answer:
    """A JSON object that is no refusal. Raises Trouble."""
    if response.status_code in _REDIRECTS:
        target = printable(response.headers.get("location", "somewhere else"))
        raise Trouble(
            Exit.UNREADABLE_ANSWER,
            f"{url} sends everybody on to {target}, which a gateway does not do.",
            "use the gateway's own address",
        )
    content = _object(response)
    status = response.status_code
    if content is None:
        raise _unreadable(response, url)
    if _is_problem(response):
        raise explain_refusal(status, content, response.headers)
    if status >= _FIRST_ERROR:
        raise explain_slurm(status, content)
    return Answer(status, response.headers, content)


def _object(response: httpx2.Response) -> Mapping[str, Any] | None:
    """A job's name or comment may be any bytes: one that is no UTF-8 shall not end the list of all."""
    try:
        content = json.loads(response.content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _slurmrestds(said: str, status: int) -> Trouble:
    is_no_address = status == _NOT_FOUND
    remedy = "the cluster may serve this API version no more; call again" if is_no_address else ""
    trouble = Trouble(
        Exit.REFUSED_BY_SLURM, f"slurmrestd says {status}: {said}", remedy, status=status
    )
    trouble.is_no_address = is_no_address
    return trouble


def _unreadable(response: httpx2.Response, url: str) -> Trouble:
    """slurmrestd says some errors in a line of text; whatever else is no JSON is somebody's in between."""
    kind = printable(response.headers.get("content-type", "nothing that has a type"), 60)
    status = response.status_code
    if status not in _AWAY and status >= _FIRST_ERROR and kind.startswith("text/plain"):
        said = printable(response.text, 160)
        return _slurmrestds(said, status)
    if status in _AWAY:
        code, remedy = Exit.UNAVAILABLE, "try again in a moment; a proxy says so in its stead"
    else:
        code = Exit.UNREADABLE_ANSWER
        remedy = "check the gateway's address; a proxy or a login page may stand in between"
    sentence = f"{url} answered {status} with {kind}, which no gateway does."
    trouble = Trouble(code, sentence, remedy, status=status)
    trouble.is_strangers = True
    return trouble
