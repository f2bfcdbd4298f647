"""Errors of Ollama's API: a text in the member `error`. Sans-io."""

from aibridge_addon.facts import ProviderError
from aibridge_addon.raw_json import JSON, encode, mapping, text


def read_error(document: dict[str, JSON]) -> ProviderError | None:
    """Return the error that a document states."""
    error = document.get("error")
    if not error:
        return None
    details = mapping(error)  # as the hosts of its cloud models send it
    message = text(error) if isinstance(error, str) else text(details.get("message"))
    return ProviderError(type=text(document.get("type") or details.get("type")), message=message)


def error_body(message: str, error_type: str | None, code: str | None) -> bytes:
    """Return the body of an error; clients show `error` and ignore the rest."""
    more = {"type": error_type, "code": code}
    named = {name: value for name, value in more.items() if value is not None}
    return encode({"error": message, **named}).encode()
