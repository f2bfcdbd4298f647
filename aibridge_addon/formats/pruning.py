"""Cuts stored parts down to some kinds of content, for an operator who records no more. Pure.

What is not known to be of these kinds is cut, so that nothing is recorded by mistake.
"""

from collections.abc import Collection, Iterable

from aibridge_addon.formats.content import Message, Part, PartKind
from aibridge_addon.formats.view import PARTIAL, View
from aibridge_addon.raw_json import JSON, as_raw, mapping, read, sequence

_HEAD = frozenset(
    {"id", "object", "type", "role", "model", "created", "created_at", "status", "usage"}
    | {"stop_reason", "stop_sequence", "service_tier", "error", "incomplete_details", PARTIAL}
)
"""Members of a response that describe it, and hold nothing that was said."""


def pruned_response(view: View, document: bytes, kinds: Collection[PartKind]) -> bytes:
    """Return an assembled response with only some kinds of content; empty if none is left."""
    response = mapping(read(document))
    name = view.content_member
    head = {key: value for key, value in response.items() if key in _HEAD}
    content = [
        pruned
        for element in sequence(response.get(name))
        if (pruned := _pruned_element(view, element, kinds)) is not None
    ]
    return _encoded({**head, name: content}) if content else b""


def _pruned_element(view: View, element: JSON, kinds: Collection[PartKind]) -> JSON:
    """Return an element of a response, or what is left of a choice; None if that is nothing."""

    def holds_only(value: JSON) -> bool:
        return _are_of(view.response_parts({view.content_member: [value]}), kinds)

    message = mapping(mapping(element).get("message"))
    if not message:
        return element if holds_only(element) else None
    choice = {key: value for key, value in mapping(element).items() if key != "logprobs"}
    left = {
        name: value for name, value in message.items() if holds_only({"message": {name: value}})
    }
    return {**choice, "message": {"role": message.get("role"), **left}} if left else None


def pruned_message(view: View, content: bytes, kinds: Collection[PartKind]) -> bytes:
    """Return a message of a request with only some kinds of content; empty if none is left."""
    parts = _parts_of(view, content)
    if _are_of(parts, kinds):
        return content
    if not any(part.kind in kinds for part in parts):
        return b""
    message = mapping(read(content))
    blocks = [
        block
        for block in sequence(message.get("content"))
        if _are_of(_parts_of(view, _encoded({**message, "content": [block]})), kinds)
    ]
    return _encoded({**message, "content": blocks}) if blocks else b""


def _parts_of(view: View, content: bytes) -> tuple[Part, ...]:
    message = view.read_part("message", content)
    return message.parts if isinstance(message, Message) else ()


def _are_of(parts: Iterable[Part], kinds: Collection[PartKind]) -> bool:
    found = {part.kind for part in parts}
    return bool(found) and found <= set(kinds)


def _encoded(value: JSON) -> bytes:
    return bytes(as_raw(value))
