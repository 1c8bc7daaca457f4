"""A head that one connection sends -> an exchange for it without reading it, where that has been done before."""

from gateway.web.exchange import Connection, Exchange
from gateway.web.head_memo import HeadMemo, SentHead
from gateway.web.known_heads import KnownHeads


class Repeats:
    """The head that this connection sent last, and those that all connections from its address share.

    Clients that poll send nothing else, and reading costs a third of what a request does here.
    """

    __slots__ = ("_blank", "_data", "_heads", "_own", "_peer", "_template")

    def __init__(self, heads: KnownHeads, peer: str | None, own: Connection) -> None:
        self._heads = heads
        self._peer = peer
        self._own = own
        self._blank: Exchange | None = None
        self._data = b""
        self._template: Exchange

    def find(self, data: bytes) -> Exchange | None:
        """A new exchange for exactly this head, which is without a body; None where it must be read."""
        if data != self._data or not self._template.memo.is_shared:
            memo = self._heads.find(data, self._peer)
            if memo is not None:
                self._take_over(data, memo)
            elif data != self._data:
                return None
        self._template.memo.was_used = True
        return self._template.again()

    def learn(self, data: bytes, exchange: Exchange) -> None:
        """This head has been read, is without a body, and is about to be served."""
        self._data = data
        if exchange.serve is not None and exchange.keep_alive:
            method, raw_target, headers = exchange.method, exchange.raw_target, exchange.headers
            sent = SentHead(data, self._peer, method, raw_target, headers)
            exchange.memo = HeadMemo(sent, self._heads.keep)
        self._template = exchange.again()

    def forget(self) -> None:
        """Another head is being read."""
        self._data = b""

    def _take_over(self, data: bytes, memo: HeadMemo) -> None:
        """What another connection, or this one at another time, has read."""
        sent = memo.sent
        if sent is None:
            raise RuntimeError("a head is shared that nobody has sent")
        if self._blank is None:
            self._blank = self._own.exchange()
        self._data, self._template = data, self._blank.again()
        template = self._template
        template.method, template.raw_target, template.headers = sent[2:]
        template.peer, template.memo = sent.peer, memo
        # nobody is shown it, but uvicorn's cycle looks whether it is HEAD
        template.scope = {"method": sent.method}  # type: ignore[typeddict-item]
