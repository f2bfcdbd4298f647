"""Legal schemas: offered schemas are legal for every wire format, and arguments are mapped back."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from aibridge_addon.tools.legal import (
    MAX_NESTING,
    MAX_SCHEMA_BYTES,
    LegalSchema,
    legal_schema,
    original_arguments,
)
from aibridge_addon.tools.schema_roots import IllegalSchemaError

type JSON = dict[str, Any]

OBJECT: JSON = {"type": "object", "properties": {}}
PROPERTY_NAME = re.compile(r"^[a-zA-Z0-9_.-]{1,64}$")
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "not", "if", "then", "else", "contains", "propertyNames")


def assert_legal(legal: LegalSchema) -> None:
    """Assert the rules of the strictest wire format."""
    schema = dict(legal.schema)
    json.dumps(schema, allow_nan=False).encode()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "enum", "not", "$ref"} & schema.keys()
    for found in each_schema(schema):
        assert isinstance(found, dict)
        assert all(map(PROPERTY_NAME.match, found.get("properties", {})))
        assert set(found.get("required", ())) <= set(found.get("required", ()))
        types = found.get("type", [])
        assert "properties" in found or "object" not in types
        assert "items" in found or "array" not in types


def each_schema(schema: JSON) -> list[JSON]:
    """Return a schema and all schemas within it."""
    inner = [of for name in _MAPS for of in schema.get(name, {}).values()]
    inner += [of for name in _LISTS for of in schema.get(name, ())]
    inner += [schema[name] for name in _SINGLE if name in schema]
    return [schema, *(found for of in inner for found in each_schema(of))]


def repaired(schema: JSON) -> JSON:
    """Return a schema repaired as a property of a tool's schema."""
    legal = legal_schema(OBJECT | {"properties": {"x": schema}})
    assert_legal(legal)
    return dict(legal.schema["properties"]["x"])


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT,
        {
            "type": "object",
            "properties": {
                "when": {"type": ["string", "null"], "format": "date", "pattern": "^[0-9-]+$"},
                "tree": {"$ref": "#/$defs/Tree"},
                "kind": {"enum": ["a", None, 1, True]},
                "any": {},
                "either": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            },
            "required": ["tree"],
            "additionalProperties": False,
            "$defs": {
                "Tree": {
                    "type": "object",
                    "properties": {"c": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                    "additionalProperties": {"type": "string"},
                }
            },
        },
    ],
)
def test_legal_schema_is_returned_unchanged(schema: JSON) -> None:
    assert legal_schema(schema) == LegalSchema(schema=schema)
    assert legal_schema(schema).schema is schema


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, OBJECT),
        ({"type": "object"}, OBJECT),
        ({"type": None}, OBJECT),
        ({"type": ["object", "null"], "properties": {}}, OBJECT),
        ({"type": "Object", "properties": None, "required": None}, OBJECT),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x"}, OBJECT),
        (OBJECT | {"enum": [{}]}, OBJECT),
        (OBJECT | {"not": {"required": ["a"]}}, OBJECT),
        (OBJECT | {"anyOf": [True, False, None]}, OBJECT),
        (OBJECT | {"oneOf": None, "allOf": {}}, OBJECT),
        (OBJECT | {"additionalProperties": "no"}, OBJECT | {"additionalProperties": {}}),
        (OBJECT | {"required": ["a", 1, "a"]}, OBJECT | {"required": ["a"]}),
        (OBJECT | {"required": True, "title": 1, "description": None}, OBJECT),
    ],
)
def test_root_of_a_schema_is_repaired(given: Any, expected: Any) -> None:
    legal = legal_schema(given)

    assert_legal(legal)
    assert legal.schema == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        (True, {}),
        ("string", {}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"type": ["object", "null"]}, {"type": ["object", "null"], "properties": {}}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": ["array", "null"]}, {"type": ["array", "null"], "items": {}}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        (
            {"type": "array", "items": [{"type": "int"}, None]},
            {"type": "array", "prefixItems": [{"type": "integer"}, {}], "items": {}},
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}]},
            {"type": "array", "prefixItems": [{"type": "string"}], "items": {}},
        ),
        ({"type": "any"}, {}),
        ({"type": []}, {}),
        ({"type": 3}, {}),
        ({"type": "str", "enum": []}, {"type": "string"}),
        ({"enum": ["a", "a", 1, True]}, {"enum": ["a", 1, True]}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"minimum": "1", "maxLength": -1, "multipleOf": 0}, {}),
        ({"minimum": float("-inf"), "maximum": float("nan"), "multipleOf": 10**400}, {}),
        ({"pattern": "(", "format": None}, {}),
        ({"patternProperties": {"(": {}, "^x-": {}}}, {"patternProperties": {"^x-": {}}}),
        ({"$ref": "#/$defs/missing"}, {}),
        ({"$ref": "https://example.com/schema"}, {}),
        ({"$ref": 1}, {}),
        ({"anyOf": []}, {}),
        ({"anyOf": [{"type": "string"}, True]}, {"anyOf": [{"type": "string"}, {}]}),
        ({"anyOf": [{"type": "string"}, False]}, {"anyOf": [{"type": "string"}]}),
        ({"required": True}, {}),
    ],
    ids=str,
)
def test_nested_schema_is_repaired(given: Any, expected: Any) -> None:
    assert repaired(given) == expected


def test_property_that_allows_nothing_is_left_out() -> None:
    assert legal_schema({"properties": {"a": False, "b": True}}).schema == {
        "type": "object",
        "properties": {"b": {}},
    }


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        (True, "not a JSON object"),
        ({"type": "string"}, "of type 'string'"),
        ({"type": ["array", "null"]}, "of type 'array'"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}, "of type 'string'"),
        (OBJECT | {"description": "x" * MAX_SCHEMA_BYTES}, "larger than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schema_that_cannot_be_mended_is_refused_with_a_reason(given: Any, reason: str) -> None:
    with pytest.raises(IllegalSchemaError, match=reason):
        legal_schema(given)


@pytest.mark.parametrize("depth", [MAX_NESTING, 100_000])
def test_schema_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    value: Any = {}
    for _ in range(depth):
        value = {"default": value}
    with pytest.raises(IllegalSchemaError, match="nested deeper"):
        legal_schema(value)


# The root's combinators and references


def test_combined_properties_are_offered_together() -> None:
    legal = legal_schema(
        {
            "allOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"$ref": "#/$defs/B"},
            ],
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "x"}}, "required": ["kind"]},
                {"$ref": "#/$defs/Y"},
                {"type": "string"},
            ],
            "$defs": {
                "B": {"type": "object", "properties": {"b": {}}, "required": ["b"]},
                "Y": {"type": "object", "properties": {"kind": {"const": "y"}, "c": {}}},
            },
        }
    )

    assert_legal(legal)
    assert legal.schema["properties"] == {
        "a": {"type": "string"},
        "b": {},
        "kind": {"anyOf": [{"const": "x"}, {"const": "y"}]},
        "c": {},
    }
    assert legal.schema["required"] == ["a", "b"]


def test_root_that_is_a_reference_is_replaced_by_its_target() -> None:
    legal = legal_schema(
        {
            "$ref": "#/$defs/Args",
            "$defs": {
                "Args": {
                    "type": "object",
                    "description": "All.",
                    "properties": {"next": {"$ref": "#/$defs/Args"}},
                    "required": ["next"],
                }
            },
        }
    )

    assert_legal(legal)
    assert legal.schema["description"] == "All."
    assert legal.schema["properties"] == {"next": {"$ref": "#/$defs/Args"}}
    assert legal.schema["required"] == ["next"]


@pytest.mark.parametrize("reference", ["#", "#/$defs/A"])
def test_circular_references_end(reference: str) -> None:
    schema = {"$ref": reference, "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert_legal(legal_schema(schema))


def test_each_reference_is_followed_once() -> None:
    defs: JSON = {
        f"D{n}": {"allOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2, "properties": {f"p{n}": {}}}
        for n in range(40)
    }
    legal = legal_schema({"$ref": "#/$defs/D0", "$defs": defs | {"D40": {}}})

    assert_legal(legal)
    assert len(legal.schema["properties"]) == 40


def test_reference_to_a_schema_moved_from_the_root_is_left_out() -> None:
    legal = legal_schema(
        {
            "anyOf": [{"properties": {"a": {"type": "string"}}}],
            "properties": {"b": {"$ref": "#/anyOf/0/properties/a"}},
        }
    )

    assert legal.schema["properties"] == {"b": {}, "a": {"type": "string"}}


# Property names


ODD_NAMES = ["tags[]", "$.x", "größe", "a b", "", "x" * 65, "a/b", "~", "half \ud83d", "🙂"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_illegal_property_name_is_replaced_and_restored_in_arguments(name: str) -> None:
    legal = legal_schema({"properties": {name: {"type": "string"}}, "required": [name]})

    assert_legal(legal)
    [offered] = legal.schema["properties"]
    assert legal.schema["required"] == [offered]
    assert original_arguments({offered: "v"}, legal.original_names) == {name: "v"}


def test_illegal_property_names_get_distinct_replacements() -> None:
    legal = legal_schema({"properties": {name: {} for name in [*ODD_NAMES, "a_b", "a-b", "a!b"]}})

    assert_legal(legal)
    assert len(legal.schema["properties"]) == len(ODD_NAMES) + 3


def test_property_names_are_replaced_and_restored_at_any_depth() -> None:
    odd = {"type": "object", "properties": {"x[]": {"type": "string"}}, "required": ["x[]"]}
    legal = legal_schema(
        {
            "properties": {
                "list": {"type": "array", "items": odd},
                "pair": {"type": "array", "items": [odd, odd]},
                "either": {"anyOf": [{"type": "null"}, odd]},
                "map": {"type": "object", "additionalProperties": odd},
                "ref": {"$ref": "#/$defs/odd"},
                "deep[]": {"type": "object", "properties": {"deeper[]": odd}},
                "deepest": {"$ref": "#/properties/deep[]/properties/deeper[]"},
            },
            "dependentRequired": {"deep[]": ["list"]},
            "$defs": {"odd": odd},
        }
    )
    names = {original: offered for offered, original in legal.original_names.items()}
    inner = {names["x[]"]: "v"}
    arguments = {
        "list": [inner, inner],
        "pair": [inner],
        "either": inner,
        "map": {"any key[]": inner},
        "ref": inner,
        names["deep[]"]: {names["deeper[]"]: inner},
        "deepest": inner,
    }

    assert_legal(legal)
    jsonschema.validate(arguments, dict(legal.schema))
    own = {"x[]": "v"}
    assert original_arguments(arguments, legal.original_names) == {
        "list": [own, own],
        "pair": [own],
        "either": own,
        "map": {"any key[]": own},
        "ref": own,
        "deep[]": {"deeper[]": own},
        "deepest": own,
    }


def test_arguments_with_a_lone_surrogate_can_be_sent() -> None:
    arguments = original_arguments({"a\ud83d": ["\udc00", {"b": "ok \ud83d"}]}, {})

    assert arguments == {"a\ufffd": ["\ufffd", {"b": "ok \ufffd"}]}
