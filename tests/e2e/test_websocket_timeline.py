"""Timelines of a conversation over a WebSocket, whose messages hold only what is new."""

from e2e.central import FORWARD
from e2e.clients import Clients
from e2e.proxy import Proxy
from e2e.sockets import Socket, message, result
from e2e.test_timelines import calls, load, texts


def test_messages_of_a_websocket_are_shown_as_a_conversation(
    clients: Clients, proxy: Proxy
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "name": "get_weather", "parameters": schema, "strict": False}]
    with proxy.recording() as records, Socket(clients, FORWARD) as codex:
        called = codex.ask([message("Weather? USE_TOOL:get_weather")], tools=tools)["response"]
        [call] = [item for item in called["output"] if item["type"] == "function_call"]
        answer = [result(call["call_id"], "sunny")]
        codex.ask(answer, previous_response_id=called["id"], tools=tools)
    asked, answered = (load(proxy, row["id"]) for row in records.interceptions)

    (shown,) = calls(asked.requests[0])
    assert shown.result
    assert shown.result.part.text == "sunny"
    assert texts(answered.requests[0]) == ["The tool returned: sunny"]
    assert answered.diff
    assert answered.diff.continues
    assert [m.parts[0].kind for m in answered.diff.of_kind("added")] == ["tool_result"]
    assert (answered.diff.of_kind("removed"), answered.diff.tools) == ((), ())
