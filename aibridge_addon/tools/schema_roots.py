"""Makes the root of an input schema an object without combinators, as providers require. Pure.

The properties of all that the root refers to or combines are offered together.
"""

from typing import Any
from urllib.parse import unquote

type Schema = dict[str, Any]

COMBINATORS = ("allOf", "anyOf", "oneOf")
_NOT_AT_ROOT = frozenset({*COMBINATORS, "$ref", "const", "enum", "not"})


class IllegalSchemaError(ValueError):
    """A schema cannot be made legal; the message has the reason."""


def as_root(document: Schema) -> Schema:
    """Return a repaired schema with an object, and no combinator, at its root."""
    merged = _Merged(document)
    merged.add(document)
    types = merged.types or ["object"]
    if "object" not in types:
        raise IllegalSchemaError(f"its input schema is of type {types[0]!r}, not 'object'")
    root = {"type": "object", **merged.others, **document}
    root = {keyword: value for keyword, value in root.items() if keyword not in _NOT_AT_ROOT}
    root |= {"type": "object", "properties": merged.joined_properties()}
    if merged.required:
        root["required"] = list(merged.required)
    return root


class _Merged:
    """Collects the properties of a schema and of all schemas that it refers to or combines."""

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._followed = {"#"}
        self._properties: dict[str, list[Schema]] = {}
        self.required: dict[str, None] = {}
        self.types: list[str] = []
        self.others: Schema = {}
        """Keywords of the schema that the root refers to."""

    def add(self, schema: Schema, *, is_alternative: bool = False) -> None:
        """Add a schema; the properties of an alternative are not required."""
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if is_alternative and types and "object" not in types:
            return
        self.types = self.types or types
        self._add_properties(schema, is_alternative=is_alternative)
        if target := self._target(schema):
            self.others = self.others or target
            self.add(target, is_alternative=is_alternative)
        for branch in schema.get("allOf", ()):
            self.add(branch, is_alternative=is_alternative)
        for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            self.add(branch, is_alternative=True)

    def _add_properties(self, schema: Schema, *, is_alternative: bool) -> None:
        for name, value in schema.get("properties", {}).items():
            known = self._properties.get(name)
            if known is None:
                self._properties[name] = [value]
            elif is_alternative and value not in known and not self._is_given(name):
                known.append(value)
        if not is_alternative:
            self.required |= dict.fromkeys(schema.get("required", ()))

    def _is_given(self, name: str) -> bool:
        return name in self._document.get("properties", {})

    def joined_properties(self) -> Schema:
        """Return the properties; alternatives of a property are combined with `anyOf`."""
        return {
            name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            for name, schemas in self._properties.items()
        }

    def _target(self, schema: Schema) -> Schema | None:
        reference = schema.get("$ref")
        if reference is None or reference in self._followed:
            return None
        self._followed.add(reference)
        target = resolved(self._document, reference_path(reference))
        return target if isinstance(target, dict) else None


def reference_path(reference: str) -> list[str]:
    """Return the steps of a reference into its own document, such as `#/$defs/Place`."""
    steps = reference.removeprefix("#").split("/")[1:]
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in steps]


def resolved(document: Schema, tokens: list[str]) -> Schema | bool | None:
    """Return the schema at a place of a document; None if the place is empty."""
    value: Any = document
    for token in tokens:
        if isinstance(value, list) and token.isdecimal() and int(token) < len(value):
            value = value[int(token)]
        else:
            value = value.get(token) if isinstance(value, dict) else None
    return value if isinstance(value, dict | bool) else None
