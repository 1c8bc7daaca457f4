"""A browser that comes back to this machine with a code -> that code, if it is the answer to our own question."""

import secrets
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.client.trouble import Exit, Trouble, printable

CALLBACK = "/callback"
_POLL_SECONDS = 0.5
_PAGE = """<!doctype html><meta charset="utf-8"><title>slurm-gateway</title>
<p>{}</p><p>You can close this window and go back to the terminal.</p>"""


class Listener(HTTPServer):
    """Its port is its own: SO_REUSEADDR would let another process take it over on Windows."""

    allow_reuse_address = False
    allow_reuse_port = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: whoever connects and says something odd is not what the terminal waits for."""


class Loopback:
    """A listener on 127.0.0.1 for one answer (RFC 8252 section 7.3), on whatever port is free."""

    def __init__(self) -> None:
        self._answer: Mapping[str, str] | None = None
        self._state = ""
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                loopback._take(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
                """Nothing: an address here has a code in it."""

        try:
            self._server = Listener(("127.0.0.1", 0), Handler)
        except OSError as error:
            raise Trouble(
                Exit.UNAVAILABLE,
                f"This machine has no loopback address to listen on: {error.strerror}.",
                "sign in with: slurm-gateway login --device",
            ) from None
        self._server.timeout = _POLL_SECONDS

    @property
    def redirect_uri(self) -> str:
        """Where the browser is to come back to."""
        return f"http://127.0.0.1:{self._server.server_port}{CALLBACK}"

    def await_code(self, state: str, issuer: str, seconds: float) -> str:
        """The code of the answer with this state. Raises Trouble, also when it does not come in time."""
        self._state = state
        deadline = time.monotonic() + seconds
        while self._answer is None:
            if time.monotonic() > deadline:
                raise Trouble(
                    Exit.NOT_PERMITTED,
                    f"No browser came back within {seconds:g} s.",
                    "if the browser is on another machine: slurm-gateway login --device",
                )
            self._server.handle_request()
        return _code_of(self._answer, issuer)

    def close(self) -> None:
        """Listen no longer."""
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        """Answers to other questions are not looked at: any page can send a browser here."""
        parts = urlsplit(request.path)
        answer = {key: values[0] for key, values in parse_qs(parts.query).items()}
        is_ours = secrets.compare_digest(answer.get("state", "").encode(), self._state.encode())
        if parts.path != CALLBACK or not self._state or not is_ours:
            _say(request, 404, "This is not the sign-in that the terminal waits for.")
            return
        self._answer = answer
        _say(request, 200, "Signed in." if "code" in answer else "The sign-in was declined.")


def _say(request: BaseHTTPRequestHandler, status: int, sentence: str) -> None:
    page = _PAGE.format(sentence).encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/html; charset=utf-8")
    request.send_header("Content-Length", str(len(page)))
    request.send_header("Content-Security-Policy", "default-src 'none'")
    request.send_header("Referrer-Policy", "no-referrer")
    request.send_header("Connection", "close")
    request.end_headers()
    request.wfile.write(page)


def _code_of(answer: Mapping[str, str], issuer: str) -> str:
    """RFC 9207: an answer that names another issuer is not ours."""
    if answer.get("iss", issuer) != issuer:
        raise Trouble(
            Exit.NOT_PERMITTED, f"The answer came from {printable(answer['iss'])}, not {issuer}."
        )
    if "error" in answer:
        words = printable(answer.get("error_description") or answer["error"])
        raise Trouble(Exit.NOT_PERMITTED, f"The sign-in was declined: {words}.")
    if not answer.get("code"):
        raise Trouble(Exit.UNREADABLE_ANSWER, "The browser came back without a code.")
    return answer["code"]
