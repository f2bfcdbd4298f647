"""Shortcuts in functions of mitmproxy that every request calls many times, with the same results.

This module replaces functions of mitmproxy 12.2 and 12.3. The originals copy each option that is
read, look the fields of a hook's class up at each call, read the environment for each task, and
parse the length of a body up to three times.
"""

import copy
import time
from asyncio import Task
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from mitmproxy import hooks, http, optmanager
from mitmproxy.net.http import http1
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.utils import asyncio_utils

from aibridge_addon.relay.masked_responses import MaskedHeaders

_IMMUTABLE = frozenset({bool, int, float, str, type(None)})
_SIZE = "_aibridge_body_size"
"""Attribute of headers for the body size that they state, and what it was read from."""

_OUR_HEADERS = (http.Headers, MaskedHeaders)
_original_size = http1.expected_http_body_size
_names: dict[type[hooks.Hook], tuple[str, ...]] = {}
"""Names of the fields of hooks by their classes."""


def current(option: Any) -> Any:
    """Return the value of an option; a copy, if it can be changed."""
    value = option._default if option.value is optmanager.unset else option.value
    return value if type(value) in _IMMUTABLE else copy.deepcopy(value)


def hook_arguments(hook: hooks.Hook) -> list[Any]:
    """Return the arguments with which a hook is called."""
    kind = type(hook)
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in fields(hook))  # type: ignore[arg-type]
    return [getattr(hook, name) for name in names]


def describe_task(task: Task[Any], *, name: str, client: tuple[Any, ...] | None = None) -> None:
    """Describe a task for debugging; its name does not state the test that runs."""
    task.created = time.time()  # type: ignore[attr-defined]
    task.set_name(name)
    if client:
        task.client = client  # type: ignore[attr-defined]


def make_headers(
    headers: http.Headers, /, fields: Iterable[tuple[bytes, bytes]] = (), **more: Any
) -> None:
    """Set the fields of new headers, and `more` of them.

    Raises:
        TypeError: a name or a value is not bytes.
    """
    headers.fields = tuple(map(tuple, fields))  # type: ignore[arg-type]
    for name, value in headers.fields:
        if not (type(name) is bytes is type(value)) and not (
            isinstance(name, bytes) and isinstance(value, bytes)
        ):
            raise TypeError("Header fields must be bytes.")
    for key, text in more.items():
        headers[key.replace("_", "-")] = text


def body_size(request: http.Request, response: http.Response | None = None) -> int | None:
    """Return the length that a message states for its body; it is read once for the same head.

    Other addons can give a message headers of another type, or fields that change in place: the
    length of these is read each time.

    Returns:
        None for a chunked body, -1 for one that ends with the connection.

    Raises:
        ValueError: a header of the length is malformed.
    """
    message: http.Message = response or request
    headers = message.headers
    if type(headers) not in _OUR_HEADERS or type(headers.fields) is not tuple:
        return _original_size(request, response)
    status = response.status_code if response else None
    known = vars(headers).get(_SIZE)
    if known and known[0] is headers.fields and known[1:3] == (request.data.method, status):
        size: int | None = known[3]
    else:
        size = _original_size(request, response)
        vars(headers)[_SIZE] = (headers.fields, request.data.method, status, size)
    return size


def use_in_mitmproxy() -> None:
    """Replace the functions."""
    replace: list[tuple[Any, str, Callable[..., Any]]] = [
        (optmanager._Option, "current", current),
        (hooks.Hook, "args", hook_arguments),
        (asyncio_utils, "set_task_debug_info", describe_task),
        (http.Headers, "__init__", make_headers),
        (http1, "expected_http_body_size", body_size),
        (http_layers, "expected_http_body_size", body_size),
    ]
    for place, name, shortcut in replace:
        setattr(place, name, shortcut)
