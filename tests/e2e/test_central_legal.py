"""No tool that a server lists, and no result, makes a client's request fail."""

import json
from collections.abc import Callable, Iterator

import pytest
from standin import Provider, Server

from e2e.asking import API, APIS
from e2e.central import FORWARD, Central
from e2e.clients import Clients
from e2e.mcp_by_hand import Reply, ToolsByHand, reply_to, serving
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.wire_formats import JSON, reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)

ODD: JSON = {
    "type": "object",
    "properties": {
        "tags[]": {"type": "array"},
        "filter": {"type": "object", "properties": {"$.x": {"type": "string"}}},
    },
    "required": ["tags[]"],
}
TOOLS: list[JSON] = [
    {"name": "search", "description": "d" * 5000, "inputSchema": ODD},
    {"name": "text", "inputSchema": {"type": "string"}},
    {"name": "nothing", "inputSchema": None},
    *({"name": f"z{number:03}", "inputSchema": {"type": "object"}} for number in range(150)),
]


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ToolsByHand]:
    """A server with many tools, some of them invalid."""
    with serving(ToolsByHand(TOOLS)) as app:
        yield app


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server, by_hand: ToolsByHand) -> Iterator[Proxy]:
    """Run a proxy that offers these tools."""
    with run_proxy(standin.origin, servers={"odd": {"url": by_hand.url}}) as made:
        yield made


@pytest.fixture
def odd(
    proxy: Proxy, clients_of: Callable[[Proxy], Clients], provider: Provider, standin: Server
) -> Iterator[Central]:
    """Sends requests through that proxy."""
    made = Central(proxy, clients_of(proxy), provider, standin)
    yield made
    made.check()


@each_api
def test_call_of_a_tool_with_illegal_property_names_has_the_original_names(
    odd: Central, by_hand: ToolsByHand, api: API
) -> None:
    odd.see(api, FORWARD, "hi")
    [tool] = [t for t in odd.received[0]["tools"] if "odd_search" in json.dumps(t)]
    function = tool.get("function", tool)
    schema = function.get("parameters") or function["input_schema"]
    tags, filters = schema["properties"]
    [inner] = schema["properties"][filters]["properties"]
    assert schema["properties"][tags] == {"type": "array", "items": {}}
    assert len(function["description"]) == (5000 if api is MESSAGES else 1024)

    called: list[JSON] = []

    def on_call(message: JSON) -> Reply:
        called.append(message["params"]["arguments"])
        return reply_to(message, {"content": [{"type": "text", "text": "found"}]})

    by_hand.on_call = on_call
    arguments = json.dumps({tags: ["a"], filters: {inner: "b"}})
    with odd.proxy.recording() as records:
        odd.see(api, FORWARD, f"USE_TOOL:bmcp_odd_search ARGS:{arguments}")
    assert called == [{"tags[]": ["a"], "filter": {"$.x": "b"}}]
    assert records.tool_usages[0]["input"] == called[0]


@each_api
def test_number_of_offered_tools_stays_within_the_limit_of_the_provider(
    odd: Central, api: API
) -> None:
    odd.see(api, FORWARD, "hi", tools=["get_weather", "get_time"])
    names = reader_of(api).names(odd.received[0])
    assert len(names) == (153 if api is MESSAGES else 128)
    assert not {"bmcp_odd_text", "bmcp_odd_nothing"} & set(names)
    if api is CHAT:
        log = odd.proxy.log_text()
        assert log.count("bmcp_odd_z149") == 1
        assert "tool 'text' of MCP server odd is not offered: its input schema is of type" in log


@each_api
def test_result_that_the_provider_would_refuse_is_described(
    odd: Central, by_hand: ToolsByHand, api: API
) -> None:
    content = [
        {"type": "text", "text": " "},
        {"type": "image", "data": "PHN2Zy8+", "mimeType": "image/svg+xml"},
        {"type": "image", "data": "AAAA", "mimeType": "image/jpg"},
        {"type": "text", "text": "half \ud83d"},
    ]
    by_hand.on_call = lambda message: reply_to(message, {"content": content})
    odd.see(api, FORWARD, "USE_TOOL:bmcp_odd_z000 ARGS:{}")
    sent = json.dumps(odd.received[1], ensure_ascii=False)
    assert "half \ufffd" in sent
    assert "<svg/>" in sent
    assert "image/jpg" not in sent
