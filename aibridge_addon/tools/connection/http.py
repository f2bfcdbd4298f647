"""HTTP transport to an MCP server: connects directly, limits and reports its responses."""

import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass

import anyio
import httpx2

from aibridge_addon.tools.connection.bounds import (
    MAX_MESSAGE_BYTES,
    MessageTooLargeError,
    complete,
    decoded,
)

GOODBYE_SECONDS = 2.0
"""Time to tell an HTTP server that a session ends."""
_MAX_ERROR_BODY = 2000
"""Bytes of an error's body that are read."""


@dataclass(slots=True)
class HttpResult:
    """The HTTP result of one request; the request's context variable holds it."""

    status: int = 0
    error_body: str = ""
    problem: str = ""
    """The reason why the response was rejected."""

    def copy_from(self, other: "HttpResult") -> None:
        """Set all values to those of another result."""
        self.status, self.error_body = other.status, other.error_body
        self.problem = other.problem


result_of_this_call: ContextVar[HttpResult | None] = ContextVar("aibridge_mcp_result", default=None)


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """An HTTP transport that ignores proxies of the environment, which may be this proxy.

    It reads responses other than streams up to a limit; a larger body is replaced by an empty one.
    """

    def __init__(
        self,
        on_result: Callable[[httpx2.Request, HttpResult], None],
        on_failure: Callable[[httpx2.Request, httpx2.TransportError], None],
    ) -> None:
        super().__init__(
            verify=_tls(), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        )
        self._on_result = on_result
        self._on_failure = on_failure

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return a response of limited size."""
        request.headers["accept-encoding"] = "identity"
        if request.method == "DELETE":
            request.extensions["timeout"] = httpx2.Timeout(GOODBYE_SECONDS).as_dict()
        try:
            response = await super().handle_async_request(request)
            result = HttpResult(status=response.status_code)
            bounded = await _bounded(response, result)
        except httpx2.TransportError as error:
            self._on_failure(request, error)
            raise
        self._on_result(request, result)
        return bounded


async def _bounded(response: httpx2.Response, result: HttpResult) -> httpx2.Response:
    coding = response.headers.pop("content-encoding", "")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    if _is_event_stream(response):
        if coding:
            response.stream = _Decoded(response.stream, coding)
        return response
    body = b""
    try:
        if _is_json(response):
            body = await complete(response.stream, coding)
        elif response.status_code >= 400:
            result.error_body = await _beginning(response.stream, coding)
    except MessageTooLargeError as error:
        result.problem = str(error)
    finally:
        await response.stream.aclose()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in ("content-length", "transfer-encoding")
    ]
    return httpx2.Response(
        response.status_code, headers=headers, content=body, extensions=response.extensions
    )


async def _beginning(stream: httpx2.AsyncByteStream, coding: str) -> str:
    """Return the beginning of an error's body, as far as it arrives within `GOODBYE_SECONDS`."""
    body = b""
    with anyio.move_on_after(GOODBYE_SECONDS):
        async with aclosing(decoded(stream, coding, max_bytes=MAX_MESSAGE_BYTES)) as pieces:
            async for data in pieces:
                body += data
                if len(body) >= _MAX_ERROR_BODY:
                    break
    return body[:_MAX_ERROR_BODY].decode(errors="replace")


def _is_event_stream(response: httpx2.Response) -> bool:
    return _media_type(response) == "text/event-stream"


def _is_json(response: httpx2.Response) -> bool:
    return _media_type(response).startswith("application/json")


def _media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


class _Decoded(httpx2.AsyncByteStream):
    """A compressed stream of events, limited in total; no request allows compression."""

    def __init__(self, stream: httpx2.AsyncByteStream, coding: str) -> None:
        self._stream = stream
        self._coding = coding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in decoded(self._stream, self._coding, max_bytes=MAX_MESSAGE_BYTES):
                yield data
        except MessageTooLargeError as error:
            raise httpx2.SSEError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
