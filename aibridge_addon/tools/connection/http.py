"""HTTP to an MCP server: direct, bounded, and told of what each request was answered."""

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
    decoded,
    whole,
)

GOODBYE_SECONDS = 2.0
"""For an HTTP server to hear that a session ends."""
_MAX_SAID = 2000
"""Bytes of an error's body that are looked at."""


@dataclass(slots=True)
class HttpAnswer:
    """What HTTP said to one request; it reaches the transport in the request's context."""

    status: int = 0
    said: str = ""
    """The body of an error."""
    problem: str = ""
    """Why the answer was not taken."""

    def take(self, told: "HttpAnswer") -> None:
        """Be the same as another."""
        self.status, self.said, self.problem = told.status, told.said, told.problem


answer_of_this_call: ContextVar[HttpAnswer | None] = ContextVar("aibridge_mcp_answer", default=None)


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP without proxies of the environment, which may be ourselves.

    Answers that are not streams are read here, to the bound; what is larger becomes empty.
    """

    def __init__(
        self,
        on_answer: Callable[[httpx2.Request, HttpAnswer], None],
        on_failure: Callable[[httpx2.Request, httpx2.TransportError], None],
    ) -> None:
        super().__init__(
            verify=_tls(), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        )
        self._on_answer = on_answer
        self._on_failure = on_failure

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return an answer that cannot fill the memory."""
        request.headers["accept-encoding"] = "identity"
        if request.method == "DELETE":
            request.extensions["timeout"] = httpx2.Timeout(GOODBYE_SECONDS).as_dict()
        try:
            response = await super().handle_async_request(request)
            told = HttpAnswer(status=response.status_code)
            bounded = await _bounded(response, told)
        except httpx2.TransportError as error:
            self._on_failure(request, error)
            raise
        self._on_answer(request, told)
        return bounded


async def _bounded(response: httpx2.Response, told: HttpAnswer) -> httpx2.Response:
    coding = response.headers.pop("content-encoding", "")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    if _is_event_stream(response):
        if coding:
            response.stream = _Decoded(response.stream, coding)
        return response
    body = b""
    try:
        if _is_json(response):
            body = await whole(response.stream, coding)
        elif response.status_code >= 400:
            told.said = await _beginning(response.stream, coding)
    except MessageTooLargeError as error:
        told.problem = str(error)
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
    """Return how the body of an error begins, as far as that comes soon."""
    body = b""
    with anyio.move_on_after(GOODBYE_SECONDS):
        async with aclosing(decoded(stream, coding, max_bytes=MAX_MESSAGE_BYTES)) as pieces:
            async for data in pieces:
                body += data
                if len(body) >= _MAX_SAID:
                    break
    return body[:_MAX_SAID].decode(errors="replace")


def _is_event_stream(response: httpx2.Response) -> bool:
    return _media_type(response) == "text/event-stream"


def _is_json(response: httpx2.Response) -> bool:
    return _media_type(response).startswith("application/json")


def _media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


class _Decoded(httpx2.AsyncByteStream):
    """A coded stream of events, which nobody asked for: bounded as a whole."""

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
