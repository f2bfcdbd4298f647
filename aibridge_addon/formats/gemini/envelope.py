"""Envelopes around requests and responses of the Gemini API. Sans-io.

Gemini CLI with a Google login (Code Assist) puts a request into `request` and gets each response in
`response`; `countTokens` takes a whole request in `generateContentRequest`.
"""

from collections.abc import Mapping

import msgspec

from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, body, mapping, members

_REQUESTS = ("request", "generateContentRequest")


def request_member(outer: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the name of the member that holds the request itself; None without an envelope."""
    given = dict(outer)
    if "contents" in given:
        return None
    names = (spelling(given, name) for name in _REQUESTS)
    return next((name for name in names if name in given), None)


def inner_request(outer: Mapping[str, msgspec.Raw]) -> Members:
    """Return the members of the request itself."""
    name = request_member(outer)
    return dict(outer) if name is None else members(outer[name]) or {}


def replace_inner(outer: Members, inner: Members) -> None:
    """Replace the request itself, in place."""
    if (name := request_member(outer)) is None:
        outer.clear()
        outer.update(inner)
    else:
        outer[name] = msgspec.Raw(body(inner))


def inner_response(data: JSON) -> dict[str, JSON]:
    """Return the response itself."""
    outer = mapping(data)
    return outer["response"] if is_enveloped(outer) else outer


def is_enveloped(outer: dict[str, JSON]) -> bool:
    """Return True if a document holds the response in `response`."""
    return isinstance(outer.get("response"), dict) and named(outer, "candidates") is None


def with_inner(outer: dict[str, JSON], inner: dict[str, JSON]) -> dict[str, JSON]:
    """Return a document with another response in its envelope, if it has one."""
    return {**outer, "response": inner} if is_enveloped(outer) else inner
