"""Catalogue: a sorted and filtered snapshot that does not depend on the order of servers."""

import re

import pytest

from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.tools.catalogue import Catalogue, ListedTool, Listing

SCHEMA = {
    "$defs": {"Place": {"type": "string"}},
    "type": "object",
    "properties": {"place": {"$ref": "#/$defs/Place"}},
}


def listing(server: str, *names: str, **patterns: re.Pattern[str]) -> Listing:
    return Listing(
        server=server,
        server_url=f"https://{server}.example.com/mcp",
        tools=tuple(ListedTool(name=name, input_schema=SCHEMA) for name in names),
        **patterns,
    )


def test_catalogue_without_servers_is_empty() -> None:
    assert Catalogue().tools == ()
    assert len(Catalogue()) == 0
    assert Catalogue().get("bmcp_a_b") is None


def test_tool_is_found_by_its_injected_name_with_all_its_properties() -> None:
    tool = ListedTool(name="look up", description="Looks it up.", input_schema=SCHEMA)
    catalogue = Catalogue([Listing(server="wiki", server_url="https://wiki/mcp", tools=(tool,))])

    (found,) = catalogue
    assert found == CentralTool(
        name=found.name,
        server="wiki",
        server_url="https://wiki/mcp",
        original_name="look up",
        description="Looks it up.",
        input_schema=SCHEMA,
    )
    assert found.input_schema is SCHEMA
    assert catalogue.get(found.name) is found
    assert found.name in catalogue
    assert "look up" not in catalogue


def test_tools_are_sorted_by_name_for_any_order_of_servers_and_tools() -> None:
    one = Catalogue([listing("b", "y", "x"), listing("a", "z")])
    other = Catalogue([listing("a", "z"), listing("b", "x", "y")])

    assert [tool.name for tool in one] == ["bmcp_a_z", "bmcp_b_x", "bmcp_b_y"]
    assert one == other
    assert hash(one) == hash(other)
    assert one != Catalogue([listing("a", "z")])


def test_catalogue_has_only_tools_that_pass_the_filters() -> None:
    wanted = listing(
        "s", "get_a", "get_b", "set_a", allow=re.compile("^get"), deny=re.compile("b$")
    )

    assert [tool.original_name for tool in Catalogue([wanted])] == ["get_a"]


def test_tool_listed_twice_is_in_the_catalogue_once() -> None:
    first = ListedTool(name="x", description="first")
    second = ListedTool(name="x", description="second")
    (tool,) = Catalogue([Listing(server="s", server_url="", tools=(first, second))])

    assert tool.description == "first"


def test_tools_that_would_share_a_name_get_distinct_names() -> None:
    catalogue = Catalogue([listing("a", "b_c", "b.c"), listing("a_b", "c")])

    assert len({tool.name for tool in catalogue}) == 3


def test_schema_without_a_type_gets_type_object() -> None:
    tool = ListedTool(name="x", input_schema={"properties": {}})
    (found,) = Catalogue([Listing(server="s", server_url="", tools=(tool,))])

    assert found.input_schema == {"type": "object", "properties": {}}


def test_catalogue_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Catalogue().extra = 1  # type: ignore[attr-defined]


def test_schema_has_no_combinator_at_its_root() -> None:
    schema = {
        "properties": {"a": {"type": "string"}},
        "anyOf": [{"properties": {"b": {"type": "number"}}}, {"required": ["a"]}],
        "$defs": {"x": {"anyOf": [{}]}},
    }
    listing = Listing(
        server="s", server_url="u", tools=(ListedTool(name="t", input_schema=schema),)
    )
    (tool,) = Catalogue([listing]).tools
    assert tool.input_schema == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "number"}},
        "$defs": {"x": {"anyOf": [{}]}},
    }
