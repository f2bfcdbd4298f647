"""Header fields as they are on the wire, and as a mapping. Pure."""

from collections.abc import Iterable, Mapping

type Field = tuple[bytes, bytes]
"""Name and value."""
type Fields = tuple[Field, ...]
"""Header fields in order, as on the wire."""


def ambiguous(fields: Iterable[Field]) -> frozenset[str]:
    """Return the names, in lower case, of headers that have several different values."""
    values: dict[bytes, bytes] = {}
    found = set()
    for name, value in fields:
        if values.setdefault(name.lower(), value) != value:
            found.add(name.lower().decode("latin-1"))
    return frozenset(found)


def lowered(fields: Iterable[Field]) -> Mapping[str, str]:
    """Return the first value of each header, by its name in lower case."""
    headers: dict[str, str] = {}
    for name, value in fields:
        headers.setdefault(name.lower().decode("latin-1"), value.decode("utf-8", "replace"))
    return headers
