"""Offers of central tools: which requests get them, where, and which bytes stay unchanged."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from standin import Provider, Server

from e2e.asking import API, APIS, TOOL_SCHEMAS, user
from e2e.central import (
    ADD,
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    Central,
    assert_untouched,
    key_headers,
)
from e2e.clients import WAYS, Clients, Way
from e2e.mcp_by_hand import ToolsByHand, serving
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.wire import connect
from e2e.wire_formats import JSON, reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

OFFERED = [
    *(
        f"bmcp_calc_{name}"
        for name in (
            *("add", "audio", "big", "echo", "fail", "image"),
            *("link", "resource", "slow", "structured"),
        )
    ),
    "bmcp_local_echo",
    "bmcp_old_echo",
]
"""The tools that the shared proxy offers, in order."""

NESTED: JSON = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/Tree"}, "when": {"type": ["string", "null"]}},
    "required": ["tree"],
    "additionalProperties": False,
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
        }
    },
}


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ToolsByHand]:
    """A server whose only tool has a nested schema."""
    tool = {"name": "grow/tree", "description": "Grows.", "inputSchema": NESTED}
    with serving(ToolsByHand([tool])) as app:
        yield app


@pytest.fixture(scope="module")
def limited_proxy(run_proxy: RunProxy, standin: Server, by_hand: ToolsByHand) -> Iterator[Proxy]:
    """Run a proxy that offers tools to selected requests."""
    config = f"""
[[providers]]
name = "other"
type = "openai"
base_url = "{standin.origin}/v1"
hosts = ["other.test"]

[injection]
actors = ["alice", "team-*"]
clients = ["* SDK (Python)", "Claude Code"]
providers = ["anthropic", "openai"]
models = ["gpt-5", "claude-*"]
"""
    trees = {"trees": {"url": by_hand.url}}
    with run_proxy(standin.origin, more_config=config, servers=trees) as made:
        yield made


@pytest.fixture
def limited(
    limited_proxy: Proxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> Iterator[Central]:
    """Sends requests through the proxy that offers tools to selected requests."""
    made = Central(limited_proxy, clients_of(limited_proxy), provider, standin)
    yield made
    made.check()


# --- what is offered


@each_api
class TestOffer:
    def test_central_tools_are_placed_where_the_provider_caches_them(
        self, central: Central, api: API
    ) -> None:
        central.see(api, FORWARD, "hi", tools=["get_weather", "get_time"])
        names = reader_of(api).names(central.received[0])
        theirs = ["get_weather", "get_time"]
        assert names == ([*OFFERED, *theirs] if api is MESSAGES else [*theirs, *OFFERED])

    def test_client_tools_are_unchanged(self, central: Central, api: API) -> None:
        body = api.body("hi", tools=["get_weather", "get_time"])
        central.see(api, FORWARD, "hi", tools=["get_weather", "get_time"])
        assert [tool for tool in central.received[0]["tools"] if tool in body["tools"]] == (
            body["tools"]
        )

    def test_central_tool_is_defined_completely(self, limited: Central, api: API) -> None:
        limited.see(api, FORWARD, "hi", headers=ALICE)
        [tool] = limited.received[0]["tools"]
        name = tool.get("function", tool)["name"]
        assert name.startswith("bmcp_trees_grow_tree_")
        assert tool == reader_of(api).definition(name, "Grows.", NESTED)

    def test_all_other_members_of_the_request_are_unchanged_and_in_order(
        self, central: Central, api: API
    ) -> None:
        extra = {"zebra": {"é": [1.50, None]}, "metadata": {"user_id": "u"}, "alpha": 1}
        body = api.body("hi") | extra
        central.see(api, FORWARD, "hi", members=extra)
        [received] = central.received
        tools = received.pop("tools")
        assert len(tools) == len(OFFERED)
        assert list(received.items()) == list(body.items())

    @pytest.mark.parametrize("value", [True, False, None], ids=str)
    def test_parallel_calls_setting_of_the_client_is_kept(
        self, central: Central, api: API, value: bool | None
    ) -> None:
        members: JSON = {} if value is None else {"parallel_tool_calls": value}
        if api is MESSAGES and value is not None:
            choice = {"type": "auto", "disable_parallel_tool_use": not value}
            members = {"tool_choice": choice}
        central.see(api, FORWARD, SUM, members=members)
        assert len(central.received) == 2
        for body in central.received:
            kept = {"parallel_tool_calls", "tool_choice"} & body.keys()
            assert {name: body[name] for name in kept} == members

    @each_delivery
    def test_client_tool_wins_over_a_central_tool_of_the_same_name(
        self, central: Central, api: API, stream: bool
    ) -> None:
        own = reader_of(api).definition(ADD, "Mine.", TOOL_SCHEMAS["get_weather"])
        story = central.see(
            api, FORWARD, f"USE_TOOL:{ADD} SAY", stream=stream, members={"tools": [own]}
        )
        assert story.lines == (f'calls {ADD} {{"city":"text"}}',)
        assert story.stop == reader_of(api).calls_stop
        names = reader_of(api).names(central.received[0])
        assert names.count(ADD) == 1
        assert own in central.received[0]["tools"]

    def test_offered_tools_are_the_same_in_each_request(self, central: Central, api: API) -> None:
        for way in WAYS:
            central.see(api, way, "hi")
        assert len({json.dumps(body["tools"]) for body in central.received}) == 1

    def test_response_is_requested_without_compression(self, central: Central, api: API) -> None:
        central.see(api, FORWARD, SUM, headers={"accept-encoding": "br, gzip"})
        asked = {request.header("accept-encoding") for request in central.requests}
        assert asked == {"identity"}


def test_token_counting_includes_the_offered_tools(central: Central) -> None:
    prompt = f"{SUM} to_be_counted"
    first = central.ask(MESSAGES, FORWARD, prompt)
    conversation = [user(prompt), *first.turn, user("And now?")]
    tools = MESSAGES.body("hi", tools=["get_weather"])["tools"]
    with central.clients.anthropic(REVERSE) as client:
        counted = client.messages.count_tokens(
            model=MESSAGES.model, messages=conversation, tools=tools
        )
    central.ask(MESSAGES, FORWARD, conversation, tools=["get_weather"])
    count, sent = central.received[-2:]
    assert central.requests[-2].path == "/v1/messages/count_tokens"
    assert count == {name: value for name, value in sent.items() if name != "max_tokens"}
    assert any(line.startswith("gets") for line in reader_of(MESSAGES).transcript(count))
    assert counted.input_tokens == (len(central.requests[-2].body) + 3) // 4


# --- to whom

ALICE = {"x-aibridge-actor": "alice", "user-agent": "OpenAI/Python 3.54.0"}

LIMITS: dict[str, tuple[dict[str, str], JSON, bool]] = {
    "an actor of the list": (ALICE, {}, True),
    "an actor by pattern": ({**ALICE, "x-aibridge-actor": "team-blue"}, {}, True),
    "another actor": ({**ALICE, "x-aibridge-actor": "bob"}, {}, False),
    "nobody": ({"user-agent": ALICE["user-agent"]}, {}, False),
    "another client of the list": ({**ALICE, "user-agent": "claude-cli/2.1"}, {}, True),
    "another client": ({**ALICE, "user-agent": "curl/8"}, {}, False),
    "a model by pattern": (ALICE, {"model": "claude-of-tomorrow"}, True),
    "another model": (ALICE, {"model": "gpt-4o"}, False),
}


@each_api
@pytest.mark.parametrize("case", LIMITS)
def test_tools_are_offered_only_to_listed_actors_clients_and_models(
    limited: Central, api: API, case: str
) -> None:
    headers, members, is_offered = LIMITS[case]
    limited.see(api, FORWARD, "hi", headers=headers, members=members)
    assert ("tools" in limited.received[0]) == is_offered


def test_tools_are_offered_only_at_listed_providers(limited: Central) -> None:
    for name in ("openai", "other"):
        with limited.clients.http(REVERSE) as client:
            client.post(
                f"{limited.proxy.reverse_url}/{name}/v1/chat/completions",
                json=CHAT.body("hi"),
                headers={**ALICE, **key_headers(CHAT)},
            ).raise_for_status()
    assert ["tools" in body for body in limited.received] == [True, False]


def test_token_counting_excludes_tools_that_are_not_offered(limited: Central) -> None:
    path = "/v1/messages/count_tokens"
    for actor in ("alice", "bob"):
        headers = {**ALICE, "x-aibridge-actor": actor}
        limited.post(MESSAGES, FORWARD, "hi", headers=headers, path=path)
    assert ["tools" in body for body in limited.received] == [True, False]


# --- what stays the bytes that it was

UNTOUCHED: dict[str, tuple[API, JSON]] = {
    "messages that forbid tools": (MESSAGES, {"tool_choice": {"type": "none"}}),
    "chat that forbids tools": (CHAT, {"tool_choice": "none"}),
    "responses that forbid tools": (RESPONSES, {"tool_choice": "none"}),
    "chat that allows some tools": (
        CHAT,
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
    ),
    "responses that allow some tools": (
        RESPONSES,
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
    ),
    **{
        f"{api} that force a call": (
            api,
            {"tools": api.body("hi", tools=["get_time"])["tools"], "tool_choice": choice},
        )
        for api, choice in (
            (MESSAGES, {"type": "tool", "name": "get_time"}),
            (CHAT, "required"),
            (RESPONSES, "required"),
        )
    },
    "chat for several answers": (CHAT, {"n": 2}),
    "chat with functions": (CHAT, {"functions": [{"name": "f", "parameters": {}}]}),
    "responses in the background": (RESPONSES, {"background": True}),
    "a warm-up of responses": (RESPONSES, {"generate": False}),
}


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@each_delivery
@pytest.mark.parametrize("case", UNTOUCHED)
def test_request_is_unchanged_if_no_tool_can_be_offered(
    central: Central, way: Way, stream: bool, case: str
) -> None:
    api, members = UNTOUCHED[case]
    assert_untouched(central, api, way, stream, members)


@each_way
@each_api
@each_delivery
def test_request_is_unchanged_if_the_filter_excludes_it(
    limited: Central, way: Way, api: API, stream: bool
) -> None:
    assert_untouched(limited, api, way, stream, {}, {"x-aibridge-actor": "bob"})


@each_api
def test_stream_without_a_call_ends_once(central: Central, api: API) -> None:
    url = urlsplit(central.clients.url(REVERSE, api.provider, api.path))
    body = json.dumps(api.body("hi", stream=True)).encode()
    headers = {"host": url.netloc, **key_headers(api), "content-length": str(len(body))}
    headers["connection"] = "close"
    lines = [f"POST {url.path} HTTP/1.1", *(f"{name}: {v}" for name, v in headers.items()), "", ""]
    with connect(central.clients, REVERSE) as sock, sock.makefile("rb") as received:
        sock.sendall("\r\n".join(lines).encode() + body)
        answer = received.read()
    assert answer.endswith(b"\n\n\r\n0\r\n\r\n")  # an event, and one last chunk
