"""Makes the schemas of tools legal for all wire formats. Pure.

One illegal tool would make the requests of all clients fail. Limits that differ by wire format are
applied where a tool is offered (`formats.offer_limits`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.raw_json import encode, sequence, text
from aibridge_addon.tools.schema_roots import IllegalSchemaError, Schema, as_root
from aibridge_addon.tools.schemas import SchemaRepair

MAX_NESTING = 64
"""Levels of JSON; a level of a schema takes two."""
MAX_SCHEMA_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalSchema:
    """A schema that can be offered, with the property names that were changed."""

    schema: Mapping[str, Any]
    original_names: Mapping[str, str] = field(default_factory=dict)
    """The server's property names by the offered names, where they differ."""


def legal_schema(given: object) -> LegalSchema:
    """Return a tool's input schema in a form that every wire format accepts.

    Raises:
        IllegalSchemaError: the schema cannot be made legal.
    """
    if not isinstance(given, dict):
        raise IllegalSchemaError("its input schema is not a JSON object")
    _check_size(given)
    repair = SchemaRepair(given)
    schema = as_root(repair.repaired(given))
    if schema == given:
        return LegalSchema(schema=given)
    # A second pass removes references to schemas that have moved.
    schema = SchemaRepair(schema).repaired(schema)
    return LegalSchema(schema=schema, original_names=repair.original_names)


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
    """Return the arguments of a call with the server's property names.

    Lone surrogates, which a model may write, are replaced, so that the arguments can be encoded.
    """
    try:
        return _original(arguments, original_names)
    except RecursionError:  # the sender reports the error
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
