"""Errors of OpenAI's APIs, which share one shape. Sans-io."""

from aibridge_addon.facts import ProviderError
from aibridge_addon.raw_json import JSON, encode, mapping, text

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def read_error(data: JSON) -> ProviderError | None:
    """Read `{"error": …}`, an `error` object by itself, or a text; None if there is no error."""
    error = mapping(data).get("error")
    if isinstance(error, str):
        return ProviderError(type=None, message=text(error))
    if not isinstance(error, dict):
        return None
    return error_facts(error)


def error_facts(error: dict[str, JSON]) -> ProviderError:
    """Read an `error` object; `code` is more precise than `type`."""
    kind = error.get("code") or error.get("type")
    if isinstance(kind, int):  # some hosts send the HTTP status
        kind = str(kind)
    return ProviderError(type=text(kind), message=text(error.get("message")))


def error_type_of(status: int | None) -> str:
    """Return the type of an error with this HTTP status."""
    if status is None or status >= 500:
        return "server_error"
    return _ERROR_TYPES.get(status, "invalid_request_error")


def error_body(
    status: int, message: str, error_type: str | None = None, code: str | None = None
) -> bytes:
    """Return an error in the shape of OpenAI's APIs."""
    kind = error_type or error_type_of(status)
    error = {"message": message, "type": kind, "param": None, "code": code}
    return encode({"error": error}).encode()
