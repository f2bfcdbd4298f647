"""Errors of a connection, described without secrets."""

import httpx2
import mcp_types as types
from mcp.shared.exceptions import MCPError

MAX_MESSAGE = 500
"""Characters of a server's error message that are passed on."""


class CallError(Exception):
    """A call has no result; the message is written for the model."""


class SessionEndedError(Exception):
    """The server no longer knows the session, and has not run the call."""


FROM_HTTP = frozenset({types.INTERNAL_ERROR, types.INVALID_REQUEST, types.METHOD_NOT_FOUND})
"""Error codes by which the HTTP transport of `mcp` reports an HTTP status."""


def http_problem(status: int) -> str:
    """Describe an HTTP error."""
    if status in (401, 403):
        return f"the server requires a login (HTTP {status}), which its operator has to configure"
    return f"the server answered with HTTP {status}"


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def described(error: BaseException) -> str:
    """Describe an error by its type: messages of `httpx2` and `pydantic` may quote a secret."""
    match error:
        case httpx2.HTTPStatusError():
            return http_problem(error.response.status_code)
        case httpx2.TimeoutException() | TimeoutError():
            return "it did not answer in time"
        case httpx2.ConnectError():
            return f"it cannot be reached: {clipped(str(error))}"
        case httpx2.SSEError():
            return "it sent an event that is too large, or something other than an event stream"
        case httpx2.TransportError():
            return f"it closed the connection ({type(error).__name__})"
        case MCPError():
            return clipped(error.message) or f"MCP error {error.code}"
        case OSError():
            return f"it cannot be started: {error.strerror or type(error).__name__}"
        case ValueError():
            return "it answers with something that is not MCP"
        case _:
            return type(error).__name__


def clipped(text: str) -> str:
    """Return a text, cut to `MAX_MESSAGE` characters."""
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
