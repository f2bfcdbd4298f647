"""Requests of CountTokens, which hold the request whose tokens are counted. Sans-io.

`input` has either `converse`, a request of Converse, or `invokeModel`, a body of InvokeModel in
base64.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass

import msgspec

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import as_raw, body, member, members, text

_INPUT, _CONVERSE, _INVOKE = "input", "converse", "invokeModel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRequest:
    """A request whose tokens are counted."""

    members: Members
    is_converse: bool
    """False for a body of InvokeModel."""


def counted_request(outer: Members) -> CountedRequest | None:
    """Return the request in a request of CountTokens; None for any other request."""
    given = _input(outer)
    if _CONVERSE in given:
        return CountedRequest(members=members(given[_CONVERSE]) or {}, is_converse=True)
    if _INVOKE not in given:
        return None
    encoded = text(member(members(given[_INVOKE]) or {}, "body")) or ""
    return CountedRequest(members=_decoded(encoded), is_converse=False)


def replace_counted(outer: Members, counted: CountedRequest) -> None:
    """Put another request into a request of CountTokens, in place."""
    given = _input(outer)
    inner = body(counted.members)
    if counted.is_converse:
        given[_CONVERSE] = msgspec.Raw(inner)
    else:
        envelope = members(given[_INVOKE]) or {}
        envelope["body"] = as_raw(b64encode(inner).decode())
        given[_INVOKE] = msgspec.Raw(body(envelope))
    outer[_INPUT] = msgspec.Raw(body(given))


def _input(outer: Members) -> Members:
    """Return the members of `input`; a request of Converse has `messages` instead."""
    return members(outer[_INPUT]) or {} if _INPUT in outer and "messages" not in outer else {}


def _decoded(encoded: str) -> Members:
    try:
        return members(b64decode(encoded, validate=True)) or {}
    except ValueError:
        return {}
