"""A request as an ASGI server hands it over -> what the application does with it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.web.client import Client, Message, Scope
from gateway.web.head_memo import HeadMemo

TOKEN = "canary.caller.token"


class AsgiClient:
    """One exchange, by ASGI alone or as the gateway's own protocol offers itself: with "client", and
    with "respond" where it takes whole answers in one write."""

    memo: HeadMemo | None = None

    def __init__(
        self,
        method: str = "GET",
        target: str = "/slurm/v0.0.38/jobs",
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: Sequence[bytes] = (),
        offers: Sequence[str] = ("client",),
    ) -> None:
        self.messages: list[Message] = []
        self.received = 0
        self.is_gone = False
        self.aborted = 0
        self.responded = 0
        self.is_busy = False
        """The transport still holds bytes, so that an answer has to wait."""
        self.hold: asyncio.Event | None = None
        """Sending waits for this, as it does for a client that does not read."""
        self._task: asyncio.Task[Any] | None = None
        self._body = list(body)
        self._gone = asyncio.Event()
        self.callbacks: list[Callable[[], None]] = []
        self.method, self.raw_target = method, target.encode()
        self._responds = "respond" in offers
        self.scope = self._make_scope(method, target, headers, offers)
        self.headers = self.scope["headers"]

    def _make_scope(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        offers: Sequence[str],
    ) -> Scope:
        fields = [("host", "localhost"), ("authorization", f"Bearer {TOKEN}"), *headers]
        if self._body and "content-length" not in dict(headers):
            fields.append(("content-length", str(sum(map(len, self._body)))))
        path, _, query = target.partition("?")
        extensions: dict[str, Any] = {}
        if "client" in offers:
            own: Client = self
            extensions["gateway.client"] = own
        return {
            "type": "http",
            "method": method,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in fields],
            "client": ("192.0.2.7", 40000),
            "extensions": extensions,
        }

    @property
    def peer(self) -> str | None:
        return self.scope["client"][0] if self.scope["client"] else None

    def task(self) -> asyncio.Task[Any] | None:
        return self._task

    def watch(self, gone: Callable[[], None], /) -> None:
        self.callbacks = [gone]
        self._task = asyncio.current_task()

    def unwatch(self) -> None:
        self.callbacks = []

    def respond(self, status: int, lines: bytes, body: bytes, /) -> bool:
        if self.is_busy or not self._responds:
            return False
        pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1]]
        headers = [(name, value) for name, value in pairs]
        self.messages += [
            {"type": "http.response.start", "status": status, "headers": headers},
            {"type": "http.response.body", "body": body},
        ]
        self.responded += 1
        return True

    def abort(self) -> None:
        self.aborted += 1

    def hang_up(self) -> None:
        self.is_gone = True
        self._gone.set()
        if self.hold is not None:
            self.hold.set()
        for callback in list(self.callbacks):
            callback()

    async def receive(self) -> Message:
        self.received += 1
        if self._body:
            piece = self._body.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._body)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """As uvicorn: silent after the client has gone, and waiting while it does not read."""
        if self.hold is not None and message["type"] == "http.response.body":
            await self.hold.wait()
        if not self.is_gone:
            self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def answer_headers(self) -> dict[str, str]:
        pairs = self.messages[0]["headers"]
        assert len({name for name, _ in pairs}) == len(pairs), "a repeated header field"
        return {name.decode(): value.decode() for name, value in pairs}

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return (
            bool(self.messages)
            and not self.messages[-1].get("more_body", False)
            and (self.messages[-1]["type"] == "http.response.body")
        )
