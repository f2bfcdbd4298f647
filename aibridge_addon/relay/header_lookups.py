"""Faster look-ups in mitmproxy's headers: each request makes dozens, most for the same few names.

This module replaces methods of `mitmproxy.http.Headers` (12.2 and 12.3) by others with the same
results. The originals call two functions for each field and raise an exception for each header
that is missing.
"""

from functools import lru_cache
from typing import Any

from mitmproxy import http
from mitmproxy.utils import strutils

_CODEC = ("utf-8", "surrogateescape")
_REQUIRED: Any = object()


@lru_cache(maxsize=512)
def _lowered(name: str | bytes) -> bytes:
    """Return a name as it is compared; the code asks for the same few names."""
    return strutils.always_bytes(name, *_CODEC).lower()


def get_all(headers: http.Headers, name: str | bytes) -> list[str]:
    """Return the values of all fields with a name."""
    wanted = _lowered(name)
    size = len(wanted)  # few names have it, so that few are lowered
    return [
        value.decode(*_CODEC)
        for key, value in headers.fields
        if len(key) == size and key.lower() == wanted
    ]


def get(headers: http.Headers, name: str | bytes, default: Any = None) -> Any:
    """Return the values of a name, joined; the default without such a field."""
    found = get_all(headers, name)
    return ", ".join(found) if found else default


def contains(headers: http.Headers, name: object) -> bool:
    """Return True if there is a field with a name."""
    wanted = _lowered(name)
    size = len(wanted)
    for key, _ in headers.fields:  # noqa: SIM110 `any` costs a generator
        if len(key) == size and key.lower() == wanted:
            return True
    return False


def pop(headers: http.Headers, name: str | bytes, default: Any = _REQUIRED) -> Any:
    """Remove a name and return its values, joined; the default without such a field.

    Raises:
        KeyError: there is neither a field nor a default.
    """
    if default is not _REQUIRED and not contains(headers, name):
        return default
    value = headers[name]
    del headers[name]
    return value


def use_in_mitmproxy() -> None:
    """Replace the methods."""
    http.Headers.get_all = get_all  # type: ignore[method-assign, assignment]
    http.Headers.get = get  # type: ignore[method-assign, assignment]
    http.Headers.__contains__ = contains  # type: ignore[method-assign, assignment]
    http.Headers.pop = pop  # type: ignore[method-assign, assignment]


def skip_type_checks() -> None:
    """Leave out the checks of the types of each message's members.

    They find mistakes of scripts only: mitmproxy's parsers make the right types.
    """
    http.MessageData.__post_init__ = lambda data: None  # type: ignore[method-assign]
