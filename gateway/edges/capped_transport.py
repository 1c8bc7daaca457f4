"""HTTP to a provider -> the same, with an answer that ends at a cap: whoever reads it whole needs one."""

import ssl
from collections.abc import AsyncIterator

import httpx2

from gateway.edges.discovery import MAXIMUM_DOCUMENT_BYTES


class CappedTransport(httpx2.AsyncBaseTransport):
    """Refuses encoded answers, so that the cap on bytes is a cap on what is unpacked."""

    def __init__(self, tls: ssl.SSLContext, maximum_bytes: int = MAXIMUM_DOCUMENT_BYTES) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False)
        self._maximum_bytes = maximum_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2.HTTPError."""
        request.headers["Accept-Encoding"] = "identity"
        answer = await self._inner.handle_async_request(request)
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise httpx2.RemoteProtocolError("the answer is encoded")
        assert isinstance(answer.stream, httpx2.AsyncByteStream)  # noqa: S101 (an async transport's is)
        answer.stream = _Capped(answer.stream, self._maximum_bytes)
        return answer

    async def aclose(self) -> None:
        """Its connections too."""
        await self._inner.aclose()


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, maximum_bytes: int) -> None:
        self._inner = inner
        self._room = maximum_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._room -= len(chunk)
            if self._room < 0:
                raise httpx2.RemoteProtocolError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
