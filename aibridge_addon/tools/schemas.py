"""Repairs the schemas within the input schema of a tool. Pure.

The result is JSON Schema 2020-12 with property names that Anthropic accepts, and with `properties`
and `items` where OpenAI requires them. It may allow more than the original: the server checks the
arguments.
"""

import re
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from aibridge_addon.raw_json import encode, sequence
from aibridge_addon.tools.schema_roots import COMBINATORS, Schema, reference_path, resolved

MAX_PROPERTY_NAME = 64

_LEGAL_NAME = re.compile(rf"[a-zA-Z0-9_.-]{{1,{MAX_PROPERTY_NAME}}}")
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_.-]+")

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_ALIASES = {
    "bool": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "str": "string",
    "text": "string",
    "dict": "object",
    "map": "object",
    "list": "array",
    "none": "null",
}
"""JSON Schema types by the type names of programming languages that servers use."""

_DROP: Any = object()
"""Marks a keyword that is left out."""


def legal_name(name: str) -> str:
    """Return a property name that can be offered; an illegal one is replaced, with its hash."""
    if _LEGAL_NAME.fullmatch(name):
        return name
    mark = "_" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem = _ILLEGAL.sub("_", name).strip("_.-") or "property"
    return stem[: MAX_PROPERTY_NAME - len(mark)] + mark


class SchemaRepair:
    """Repairs the schemas of one document."""

    def __init__(self, document: Schema) -> None:
        self._document = document
        self.original_names: dict[str, str] = {}
        self._by_keyword: dict[str, Callable[[Any], Any]] = {
            "$ref": self._reference,
            "dependentRequired": self._names_by_name,
            "dependentSchemas": self._properties,
            "properties": self._properties,
            "required": self._names,
            **dict.fromkeys(("$defs", "definitions"), self._schema_map),
            "patternProperties": self._schemas_by_pattern,
            **dict.fromkeys(("additionalProperties", "unevaluatedProperties"), self._or_boolean),
            **dict.fromkeys(COMBINATORS, self._branches),
            **dict.fromkeys(_SCHEMA_KEYWORDS, self.repaired),
            "prefixItems": self._schema_list,
        }

    def repaired(self, schema: Any) -> Schema:
        """Return a legal schema; if it is not an object, one that allows everything."""
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, dict):
            return {}
        result = {}
        for keyword, value in _modern(schema).items():
            repair = self._by_keyword.get(keyword) or _CHECKS.get(keyword)
            repaired = repair(value) if repair else value
            if repaired is not _DROP:
                result[keyword] = repaired
        return _completed(result)

    def _or_boolean(self, value: Any) -> Any:
        return value if isinstance(value, bool) else self.repaired(value)

    def _schema_list(self, value: Any) -> Any:
        return [self.repaired(schema) for schema in sequence(value)] or _DROP

    def _branches(self, value: Any) -> Any:
        """Repair branches; a branch that allows nothing is left out."""
        return self._schema_list([schema for schema in sequence(value) if schema is not False])

    def _schema_map(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return _DROP
        return {name: self.repaired(schema) for name, schema in value.items()}

    def _schemas_by_pattern(self, value: Any) -> Any:
        by_pattern = self._schema_map(value)
        if by_pattern is _DROP:
            return _DROP
        return {name: of for name, of in by_pattern.items() if _expression(name) is not _DROP}

    def _properties(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return _DROP
        return {
            self._named(name): self.repaired(schema)
            for name, schema in value.items()
            if schema is not False
        }

    def _names(self, value: Any) -> Any:
        names = [name for name in sequence(value) if isinstance(name, str)]
        return list(dict.fromkeys(map(self._named, names)))

    def _names_by_name(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return _DROP
        return {self._named(name): self._names(names) for name, names in value.items()}

    def _named(self, name: str) -> str:
        legal = legal_name(name)
        if legal != name:
            self.original_names[legal] = name
        return legal

    def _reference(self, value: Any) -> Any:
        """Return a reference into this document with its property names renamed."""
        if not isinstance(value, str) or not value.startswith("#"):
            return _DROP
        tokens = reference_path(value)
        if value != "#" and (not tokens or resolved(self._document, tokens) is None):
            return _DROP
        if all(map(_LEGAL_NAME.fullmatch, tokens)) or "properties" not in tokens:
            return value
        renamed = [
            legal_name(token) if before == "properties" else token
            for before, token in zip(["", *tokens], tokens, strict=False)
        ]
        return "#/" + "/".join(token.replace("~", "~0").replace("/", "~1") for token in renamed)


_SCHEMA_KEYWORDS = (
    *("contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
    "unevaluatedItems",
)


def _modern(schema: Schema) -> Schema:
    """Return a schema with the keywords of JSON Schema 2020-12."""
    modern = {name: value for name, value in schema.items() if name not in _LEFT_OUT}
    if isinstance(items := schema.get("items"), list):
        modern["prefixItems"] = items
        modern["items"] = schema.get("additionalItems", {})
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(is_exclusive := schema.get(exclusive), bool):
            del modern[exclusive]
            if is_exclusive and limit in modern:
                modern[exclusive] = modern.pop(limit)
    return modern


_LEFT_OUT = frozenset(
    {
        *("$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef"),
        *("$schema", "$vocabulary", "additionalItems", "dependencies"),
    }
)
"""Keywords for the location and dialect of a schema, and those of older versions."""


def _completed(schema: Schema) -> Schema:
    """Add the members that OpenAI requires in objects and arrays."""
    types = schema.get("type")
    if types == "object" or (isinstance(types, list) and "object" in types):
        schema.setdefault("properties", {})
    if types == "array" or (isinstance(types, list) and "array" in types):
        schema.setdefault("items", {})
    if not schema.get("required", True):
        del schema["required"]
    return schema


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return list(dict.fromkeys(kept for kept in map(_type, value) if kept is not _DROP)) or _DROP
    if not isinstance(value, str):
        return _DROP
    name = _ALIASES.get(value.lower(), value.lower())
    return name if name in _TYPES else _DROP


def _values(value: Any) -> Any:
    """Return the values of an `enum` without duplicates."""
    unique: list[Any] = []
    seen: set[str] = set()
    for choice in sequence(value):
        if (text := encode(choice)) not in seen:
            seen.add(text)
            unique.append(choice)
    return unique or _DROP


def _expression(value: Any) -> Any:
    try:
        return value if isinstance(value, str) and re.compile(value) else _DROP
    except (re.error, RecursionError, OverflowError):
        return _DROP


def _of_kind(*kinds: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        return value if fits else _DROP

    return check


def _count(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else _DROP


def _number(value: Any) -> Any:
    """Return a number that JSON can represent; Python servers write NaN and Infinity."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else _DROP


def _step(value: Any) -> Any:
    return value if _number(value) is not _DROP and value > 0 else _DROP


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "enum": _values,
    "examples": _of_kind(list),
    "multipleOf": _step,
    "pattern": _expression,
    "type": _type,
    **dict.fromkeys(("$comment", "description", "format", "title"), _of_kind(str)),
    **dict.fromkeys(("contentEncoding", "contentMediaType"), _of_kind(str)),
    **dict.fromkeys(("deprecated", "readOnly", "uniqueItems", "writeOnly"), _of_kind(bool)),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), _number),
    **dict.fromkeys(("maxContains", "maxItems", "maxLength", "maxProperties"), _count),
    **dict.fromkeys(("minContains", "minItems", "minLength", "minProperties"), _count),
}
