"""Numbers of tools and lengths of descriptions stay within an API's limits."""

from dataclasses import replace

from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.formats.offer_limits import OfferLimits
from formats.helpers import tools_of

OBJECT = {"type": "object", "properties": {}}


def central_tools(*names: str) -> list[CentralTool]:
    return [
        CentralTool(
            name=name,
            server="s",
            server_url="u",
            original_name=name,
            description="d" * 20,
            input_schema=OBJECT,
        )
        for name in names
    ]


def test_tools_of_the_client_count_towards_the_limit_and_win_over_equal_names() -> None:
    limits = OfferLimits(tools=4)
    offered = limits.selected(central_tools("a", "b", "c", "d"), ["own", None, "a"])

    assert [tool.name for tool in offered] == ["b"]
    assert limits.selected(central_tools("a"), ["own"] * 5) == ()
    assert len(OfferLimits().selected(central_tools(*map(str, range(500))), [])) == 500


def test_description_longer_than_the_limit_is_cut() -> None:
    [tool] = central_tools("a")

    assert OfferLimits(description=10).described(tool) == "d" * 9 + "…"
    assert OfferLimits(description=20).described(tool) == "d" * 20
    assert OfferLimits().described(tool) == "d" * 20


def test_equal_tools_share_one_encoded_definition() -> None:
    api = tools_of("anthropic_messages")
    [first], [second] = central_tools("a"), central_tools("a")
    changed = replace(first, description="other")

    assert api.definitions([first])[0] is api.definitions([second])[0]
    assert bytes(api.definitions([changed])[0]) != bytes(api.definitions([first])[0])
