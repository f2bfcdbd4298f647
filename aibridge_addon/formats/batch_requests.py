"""Edits of the requests in the body of a batch. Sans-io."""

from collections.abc import Callable, Sequence

import msgspec

from aibridge_addon.raw_json import elements, with_changes

type Edit = Callable[[bytes], bytes]
"""Returns the JSON of a request as it is sent."""


def with_requests(data: bytes, path: Sequence[str], edit: Edit) -> bytes:
    """Edit each request in a batch; every other byte stays as it is.

    Args:
        data: the batch, or the part of it to which the path leads.
        path: names of the members to the requests, without `_`; of arrays, each element is meant,
            but none that is an array itself: a request is an object.
        edit: of a request.
    """
    if data.startswith(b"["):
        return _with_elements(data, lambda each: _with_element(each, path, edit))
    if not path:
        return edit(data)

    def change(name: str, value: msgspec.Raw) -> bytes | None:
        is_on_path = name.replace("_", "").casefold() == path[0]
        return with_requests(bytes(value), path[1:], edit) if is_on_path else None

    return with_changes(data, change)


def _with_element(element: bytes, path: Sequence[str], edit: Edit) -> bytes:
    return element if element.startswith(b"[") else with_requests(element, path, edit)


def _with_elements(array: bytes, edit: Edit) -> bytes:
    """Edit the elements of an array; what is between them stays as it is."""
    made, end = bytearray(array[:1]), 1
    for element in map(bytes, elements(array)):
        start = array.find(element, end)
        if start < 0:  # only lenient parsers accept it
            return array
        made += array[end:start] + edit(element)
        end = start + len(element)
    return bytes(made) + array[end:]
