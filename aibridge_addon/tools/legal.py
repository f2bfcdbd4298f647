"""Makes a tool legal for an API: one tool must not make the requests of all clients fail. Pure.

Schemas are mended once, for all APIs alike; lengths and numbers differ by API, and are applied
where a tool is offered (`formats.offer_limits`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.raw_json import encode, sequence, text
from aibridge_addon.tools.schema_roots import IllegalSchemaError, Schema, as_root
from aibridge_addon.tools.schemas import Mender

MAX_NESTING = 64
"""Levels of JSON, two of which make one level of a schema."""
MAX_SCHEMA_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalSchema:
    """A schema as it can be offered, and the property names that had to be changed in it."""

    schema: Mapping[str, Any]
    original_names: Mapping[str, str] = field(default_factory=dict)
    """The server's property names by those that are offered; only those that differ."""


def legal_schema(given: object) -> LegalSchema:
    """Return a tool's input schema as every API takes it.

    Raises:
        IllegalSchemaError: it cannot be made legal.
    """
    if not isinstance(given, dict):
        raise IllegalSchemaError("its input schema is not a JSON object")
    _check_size(given)
    mender = Mender(given)
    schema = as_root(mender.mended(given))
    if schema == given:
        return LegalSchema(schema=given)
    # References to what has moved lead nowhere now, and are left out too.
    schema = Mender(schema).mended(schema)
    return LegalSchema(schema=schema, original_names=mender.original_names)


def _check_size(schema: Schema) -> None:
    level: list[Any] = [schema]
    for _ in range(MAX_NESTING):
        level = [child for value in level for child in _children(value)]
        if not level:
            break
    else:
        raise IllegalSchemaError(f"its input schema is nested deeper than {MAX_NESTING} levels")
    if len(encode(schema).encode()) > MAX_SCHEMA_BYTES:
        raise IllegalSchemaError(f"its input schema is larger than {MAX_SCHEMA_BYTES} bytes")


def _children(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else sequence(value)
    return (child for child in inner if isinstance(child, dict | list))


def original_arguments(arguments: Any, original_names: Mapping[str, str]) -> Any:
    """Return the arguments of a call with the server's own property names.

    Strings in them can be encoded after it: a model may write half of a surrogate pair.
    """
    try:
        return _original(arguments, original_names)
    except RecursionError:  # whoever sends them says that they cannot be sent
        return arguments


def _original(value: Any, original_names: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {
                original_names.get(name, text(name)): _original(inner, original_names)
                for name, inner in value.items()
            }
        case list():
            return [_original(inner, original_names) for inner in value]
        case str():
            return text(value)
    return value
