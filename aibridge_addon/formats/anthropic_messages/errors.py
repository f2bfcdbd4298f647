"""Errors of Anthropic Messages. Sans-io."""

from aibridge_addon.facts import ProviderError
from aibridge_addon.raw_json import JSON, encode, mapping, text

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read_error(data: JSON) -> ProviderError:
    """Read an error body or an `error` event."""
    given = mapping(data).get("error")
    error = mapping(given)
    message = given if isinstance(given, str) else error.get("message")
    kind = error.get("type") or error.get("status")  # Google names it otherwise
    return ProviderError(type=text(kind), message=text(message))


def error_body(status: int, message: str, error_type: str | None = None) -> bytes:
    """Return an error in the shape of the Messages API."""
    kind = error_type or _TYPES.get(status, "api_error")
    return encode({"type": "error", "error": {"type": kind, "message": message}}).encode()
