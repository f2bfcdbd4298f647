"""Reads JSON of clients and providers: plain values, and accessors that accept any shape.

Nothing is validated or rejected: a value of the wrong shape counts as missing. `members` and
`elements` leave the values undecoded, so that reading a large request is cheap.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from aibridge_addon.lenient_json import split_array, split_object

type JSON = Any
"""A decoded JSON value: dict, list, str, int, float, bool or None."""

_decode: Callable[[bytes | msgspec.Raw], JSON] = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Name:
    """A member's name that equals no other, so that a dict can hold several members of one name."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_decode_pairs = msgspec.json.Decoder(
    dict[_Name, msgspec.Raw], dec_hook=lambda _, text: _Name(text)
).decode

_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Exceptions of msgspec's decoders."""

_MAX_COUNT = 2**63 - 1
"""Largest integer of a database column."""


def decode(data: bytes | msgspec.Raw) -> JSON:
    """Decode JSON.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return _decode(data)
    except _BROKEN:
        return _decode_leniently(data)


def read(data: bytes | msgspec.Raw) -> JSON:
    """Decode JSON; None if it is broken."""
    try:
        return decode(data)
    except ValueError:
        return None


def _decode_leniently(data: bytes | msgspec.Raw) -> JSON:
    # Clients send escaped lone surrogates (JavaScript) and NaN (Python).
    try:
        return json.loads(bytes(data))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Split a JSON object into its members, undecoded; None if it is not an object."""
    try:
        return _decode_members(data)
    except _BROKEN:
        value = read(data)
    if not isinstance(value, dict):
        return None
    return {name: _raw(member) for name, member in value.items()}


def pairs(data: bytes | msgspec.Raw) -> list[tuple[str, msgspec.Raw]] | None:
    """Split a JSON object into its members, undecoded; several members may have one name."""
    try:
        return [(name.text, value) for name, value in _decode_pairs(data).items()]
    except _BROKEN:
        pass
    found = split_object(bytes(data))
    return None if found is None else [(name, msgspec.Raw(value)) for name, value in found]


def readings(data: bytes, last: dict[str, msgspec.Raw]) -> tuple[dict[str, msgspec.Raw], ...]:
    """Return an object's members as parsers read them that take the last of one name, or the first.

    Args:
        data: the object.
        last: its `members`.
    """
    if are_all_members(data, last) or not _OBJECT.match(data):
        return (last,)
    found = pairs(data) or []
    return (last,) if len(found) <= len(last) else (last, dict(reversed(found)))


_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")


_KEY = re.compile(rb'[\s,]*"((?:[^"\\]|\\.)*)"\s*:\s*', re.DOTALL)


class _AllMembers:
    """Compares objects with their members; several ask about the same in turn."""

    def __init__(self) -> None:
        self._last: tuple[bytes, tuple[tuple[str, msgspec.Raw], ...], bool] = b"", (), False

    def __call__(self, data: bytes, read_as: Mapping[str, msgspec.Raw]) -> bool:
        last, given = self._last, tuple(read_as.items())
        if last[0] is not data or last[1] != given:
            last = self._last = data, given, _are_all_members(data, given)
        return last[2]


are_all_members = _AllMembers()
"""Returns whether an object consists of the members that it was read as: none is repeated then.

Compares the bytes of a large object, which is much cheaper than to read JSON again. False where a
value is one that only lenient decoders accept, and in a large object where a name has escapes.
"""
_FEW_BYTES = 4096
"""Size up to which to read an object again is cheaper than to look for each name."""


def _are_all_members(data: bytes, read_as: tuple[tuple[str, msgspec.Raw], ...]) -> bool:
    if len(data) > _FEW_BYTES:
        return _are_written_members(data, read_as)
    try:
        found = _decode_pairs(data)
    except _BROKEN:
        return False
    return [(name.text, value) for name, value in found.items()] == list(read_as)


def _are_written_members(data: bytes, read_as: Iterable[tuple[str, msgspec.Raw]]) -> bool:
    end = data.find(b"{") + 1
    for name, value in read_as:
        key, written = _KEY.match(data, end), bytes(value)
        if key is None or key[1] != name.encode(errors="surrogatepass"):
            return False
        if not data.startswith(written, key.end()):
            return False
        end = key.end() + len(written)
    return data[end:].strip() == b"}"


def with_values(data: bytes, values: Mapping[str, JSON]) -> bytes:
    """Replace the values of some members of a JSON object; every other byte stays as it is.

    Members that the object does not have are not added. Data that is not an object, or that is not
    read as it is written, is returned unchanged. A `Raw` value is taken as it is, in any encoding.
    """
    new = {
        name: bytes(value) if isinstance(value, msgspec.Raw) else encode(value).encode()
        for name, value in values.items()
    }
    return with_changes(data, lambda name, _: new.get(name))


type Change = Callable[[str, msgspec.Raw], bytes | None]
"""Returns the new value of a member, given its name and value; None: it stays."""


def with_changes(data: bytes, change: Change) -> bytes:
    """Replace the values of members that `change` returns a new value for, as `with_values` does.

    Of several members of one name, each is changed on its own.
    """
    if (encoding := json.detect_encoding(data)) != "utf-8":
        return _recoded(data, encoding, change)
    changes = [(value, change(name, value)) for name, value in pairs(data) or ()]
    if all(new is None for _, new in changes):
        return data
    made = bytearray()
    end = data.find(b"{") + 1
    for value, new in changes:
        key = _KEY.match(data, end)
        if key is None:
            return data
        written = bytes(value)
        end = key.end() + len(written)
        if data[key.end() : end] != written:
            return data
        made += key[0]
        made += written if new is None else new
    start = data.find(b"{") + 1
    return data[:start] + bytes(made) + data[end:]


def _recoded(data: bytes, encoding: str, change: Change) -> bytes:
    """Change data in an encoding that only lenient parsers accept, or after a byte order mark."""
    try:
        text = data.decode(encoding).encode()
        changed = with_changes(text, change)
        return data if changed == text else changed.decode().encode(encoding)
    except UnicodeError:
        return data


def elements(data: bytes | msgspec.Raw | None) -> list[msgspec.Raw]:
    """Split a JSON array into its elements, undecoded; empty if it is not an array."""
    if data is None:
        return []
    try:
        return _decode_elements(data)
    except _BROKEN:
        return [msgspec.Raw(element) for element in split_array(bytes(data))]


def array_reader(shape: Any) -> Callable[[bytes | msgspec.Raw | None], list[JSON]]:
    """Return a function that decodes arrays, but only those members that a type names.

    `shape` is the type of an element, a `TypedDict` whose members are optional. An array with an
    element of another shape is decoded completely; anything but an array counts as an empty one.
    """
    decode_shape = msgspec.json.Decoder(list[shape]).decode

    def read_array(data: bytes | msgspec.Raw | None) -> list[JSON]:
        if data is None:
            return []
        try:
            return decode_shape(data)
        except _BROKEN:
            return [read(element) for element in elements(data)]

    return read_array


def _raw(value: JSON) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def member(data: dict[str, msgspec.Raw], name: str) -> JSON:
    """Decode one of `members`; None if it is missing or broken."""
    raw = data.get(name)
    return None if raw is None else read(raw)


def encode(value: JSON) -> str:
    """Encode a value as compact JSON, in a text that every store can hold."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        mended = _mend(json.dumps(value, ensure_ascii=False))
        return msgspec.json.encode(_decode_leniently(mended.encode())).decode()


def text(value: JSON) -> str | None:
    """Return the value if it is a string, without lone surrogates, which no store can hold."""
    if not isinstance(value, str):
        return None
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _mend(value)
    return value


def _mend(value: str) -> str:
    """Join surrogates that belong together, as a stream may cut a pair in two; replace the rest."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mapping(value: JSON) -> dict[str, JSON]:
    """Return the value if it is an object, otherwise an empty object."""
    return value if isinstance(value, dict) else {}


def sequence(value: JSON) -> list[JSON]:
    """Return the value if it is an array, otherwise an empty array."""
    return value if isinstance(value, list) else []


def count(value: JSON) -> int | None:
    """Return the value if it is an integer from 0 to the largest that a store can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MAX_COUNT or value != int(value):
        return None
    return int(value)


def expect[T](kind: type[T], value: JSON) -> T:
    """Return the value, which must be of this kind.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def arguments(value: str) -> JSON:
    """Decode the arguments of a tool call; a string where they are not JSON."""
    given = text(value) or ""
    if not given.strip():
        return {}
    try:
        return decode(given.encode())
    except ValueError:
        return given


def appended(array: bytes | msgspec.Raw, values: list[JSON]) -> msgspec.Raw:
    """Return a JSON array with further values; its own elements stay byte for byte."""
    return joined([*elements(array), *(as_raw(value) for value in values)])


def joined(parts: list[msgspec.Raw]) -> msgspec.Raw:
    """Return a JSON array of undecoded elements."""
    return msgspec.Raw(b"[" + b",".join(bytes(part) for part in parts) + b"]")


def as_raw(value: JSON) -> msgspec.Raw:
    """Encode a value as an undecoded element."""
    return msgspec.Raw(encode(value).encode())


def body(request: dict[str, msgspec.Raw]) -> bytes:
    """Encode a request from its members, each byte for byte."""
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:  # a lone surrogate in a name
        named = (json.dumps(name).encode() + b":" + bytes(raw) for name, raw in request.items())
        return b"{" + b",".join(named) + b"}"
