"""Reading JSON that others wrote: plain values and accessors that return None on the wrong shape.

Nothing here validates or rejects: a body is somebody else's, and only what is understood is read.
`members` and `elements` leave what is not asked for as the raw bytes it was, which makes a look at
a large request cheap.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec

type JSON = Any
"""A decoded JSON value: dict, list, str, int, float, bool or None."""

_decode: Callable[[bytes | msgspec.Raw], JSON] = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode(data: bytes | msgspec.Raw) -> JSON:
    """Decode JSON.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _decode_leniently(data)


def _decode_leniently(data: bytes | msgspec.Raw) -> JSON:
    # JavaScript writes half a surrogate pair as an escape, Python writes NaN: clients do send them.
    try:
        return json.loads(bytes(data))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Split a JSON object into its members, undecoded; None if it is not an object."""
    try:
        return _decode_members(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        value = _decode_leniently(data)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return {name: msgspec.Raw(json.dumps(member).encode()) for name, member in value.items()}


def elements(data: bytes | msgspec.Raw | None) -> list[msgspec.Raw]:
    """Split a JSON array into its elements, undecoded; empty if it is not an array."""
    if data is None:
        return []
    try:
        return _decode_elements(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def member(data: dict[str, msgspec.Raw], name: str) -> JSON:
    """Decode one of `members`; None if it is missing or broken."""
    raw = data.get(name)
    if raw is None:
        return None
    try:
        return decode(raw)
    except ValueError:
        return None


def encode(value: JSON) -> str:
    """Encode a value as compact JSON, in a text that every store can hold."""
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return json.dumps(value, separators=(",", ":"))  # escapes what is not valid Unicode


def text(value: JSON) -> str | None:
    """Return the value if it is a string, without lone surrogates, which no store can hold."""
    if not isinstance(value, str):
        return None
    if value.isascii():
        return value
    return value.encode("utf-8", "replace").decode() if _has_surrogates(value) else value


def _has_surrogates(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def mapping(value: JSON) -> dict[str, JSON]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: JSON) -> list[JSON]:
    """Return the value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def count(value: JSON) -> int | None:
    """Return the value if it is a whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value != value or value < 0 or value != int(value):  # NaN is not itself
        return None
    return int(value)


def arguments(value: str) -> JSON:
    """Decode the arguments of a tool call; a string where they are not JSON."""
    if not value.strip():
        return {}
    try:
        return decode(value.encode())
    except ValueError:
        return value
