"""Errors of Google's APIs: `google.rpc.Status` as JSON. Sans-io."""

from aibridge_addon.facts import ProviderError
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.raw_json import JSON, encode, mapping, text

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Names of `google.rpc.Code` by HTTP status."""


def read_error(data: JSON) -> ProviderError | None:
    """Read `{"error": …}`, an object or a text; None if there is no error."""
    given = mapping(data).get("error")
    if isinstance(given, str):
        return ProviderError(type=None, message=text(given))
    if not isinstance(given, dict):
        return None
    kind = named(given, "status") or given.get("code")
    kind = str(kind) if isinstance(kind, int) else kind
    return ProviderError(type=text(kind), message=text(given.get("message")))


def error_body(
    status: int, message: str, error_type: str | None = None, code: str | None = None
) -> bytes:
    """Return an error in the shape of Google's APIs; `code` is the reason of its `ErrorInfo`."""
    name = error_type or _STATUS.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    error: dict[str, JSON] = {"code": status, "message": message, "status": name}
    if code:
        info = {"reason": code, "domain": "aibridge"}
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
    return encode({"error": error}).encode()
