"""The content views that mitmproxy chooses by itself."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from formats.helpers import ANSWERS, REQUESTS, STREAMS, Scenario, every
from mitmproxy import contentviews, ctx, http
from mitmproxy.test import tflow, tutils
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.views.content_views import FormatContentview, register_views


@pytest.fixture(autouse=True)
def _views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the views for flows whose path is the name of a wire format."""
    register_views(format_of)
    options = SimpleNamespace(protobuf_definitions=None)
    monkeypatch.setattr(ctx, "options", options, raising=False)


def format_of(flow: http.HTTPFlow) -> Format | None:
    return FORMATS.get(flow.request.path.strip("/"))


def flow_of(api: str, request: bytes = b"", response: bytes = b"") -> http.HTTPFlow:
    flow = tflow.tflow(
        req=tutils.treq(path=f"/{api}".encode(), content=request),
        resp=tutils.tresp(content=response),
    )
    assert flow.response
    flow.response.headers["content-type"] = "text/event-stream"
    return flow


def shown(flow: http.HTTPFlow, message: http.Message | WebSocketMessage) -> tuple[str, str]:
    result = contentviews.prettify_message(message, flow)
    return result.view_name or "", result.text


@every(REQUESTS)
def test_request_is_shown_as_a_conversation(scenario: Scenario) -> None:
    body = scenario.read("request.json")
    flow = flow_of(scenario.api, request=body)
    name, text = shown(flow, flow.request)
    assert name == scenario.api.replace("_", " ")
    assert text.startswith(json.loads(body).get("model") or "")
    assert "── " in text


@every(STREAMS)
def test_stream_is_shown_as_its_message(scenario: Scenario) -> None:
    flow = flow_of(scenario.api, response=scenario.stream())
    assert flow.response
    name, text = shown(flow, flow.response)
    assert name == scenario.api.replace("_", " ")
    assert not re.search(r"^(event|data):", text, re.MULTILINE)


@every(ANSWERS)
def test_document_is_shown_as_its_message(scenario: Scenario) -> None:
    flow = flow_of(scenario.api, response=scenario.read("answer.json"))
    assert flow.response
    assert shown(flow, flow.response)[0] == scenario.api.replace("_", " ")


def test_flow_of_another_route_keeps_the_view_of_mitmproxy() -> None:
    flow = flow_of("elsewhere", request=b'{"model": "m", "messages": []}')
    flow.request.headers["content-type"] = "application/json"
    assert shown(flow, flow.request)[0] == "JSON"


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b"none"])
def test_body_without_json_or_events_keeps_the_view_of_mitmproxy(body: bytes) -> None:
    flow = flow_of("openai_chat", request=body, response=body)
    assert flow.response
    for message in (flow.request, flow.response):
        assert shown(flow, message)[0] != "openai chat"


@pytest.mark.parametrize("body", [b"{", b'{"a": \xff}', b"data: none", b": comment"])
def test_body_that_cannot_be_read_is_shown_as_it_is(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    flow = flow_of("openai_chat", request=body, response=body)
    assert flow.response
    with caplog.at_level("DEBUG"):
        for message in (flow.request, flow.response):
            name, text = shown(flow, message)
            assert name == "openai chat"
            assert text == body.decode(errors="backslashreplace")
    assert not caplog.records  # mitmproxy logs a traceback of a view that raises


def test_huge_body_is_not_parsed() -> None:
    wire_format = FORMATS["openai_chat"]
    assert wire_format.view
    view = FormatContentview(wire_format, wire_format.view, format_of)
    metadata = contentviews.Metadata(flow=flow_of("openai_chat"))
    assert view.render_priority(b"{}", metadata) > 1
    assert view.render_priority(b" " * (33 * 1024 * 1024), metadata) < 0


def websocket_text(content: dict[str, Any], *, from_client: bool = False) -> str:
    flow = flow_of("openai_responses")
    message = WebSocketMessage(Opcode.TEXT, from_client, json.dumps(content).encode())
    name, text = shown(flow, message)
    assert name == "openai responses"
    return text


def test_websocket_request_is_shown_as_a_conversation() -> None:
    text = websocket_text(
        {
            "type": "response.create",
            "model": "gpt-5.2",
            "input": [{"type": "message", "role": "user", "content": "Why?"}],
        },
        from_client=True,
    )
    lines = text.splitlines()
    assert lines[:2] == ["response.create", "gpt-5.2 · 1 message"]
    assert lines[-1] == "Why?"


def test_websocket_end_of_a_response_is_shown_as_its_message() -> None:
    part = {"type": "output_text", "text": "Because."}
    item = {"type": "message", "role": "assistant", "content": [part]}
    response = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-5.2",
        "output": [item],
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }
    lines = websocket_text({"type": "response.completed", "response": response}).splitlines()
    assert lines[0] == "response.completed"
    assert lines[1] == "gpt-5.2 · resp_1 · completed"
    assert lines[2] == "tokens: 9 in → 2 out"
    assert lines[-1] == "Because."


def test_websocket_event_is_shown_as_a_line() -> None:
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "Be"}
    assert websocket_text(delta) == "response.output_text.delta  'Be'"
    created = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
    assert websocket_text(created) == "response.created  resp_1"
    assert len(websocket_text({"type": "response.done", "item": {"a": "b" * 500}})) < 100


def test_websocket_error_is_shown_with_its_message() -> None:
    error = {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow down."}}
    assert websocket_text(error).splitlines() == [
        "error",
        "error: rate_limit_exceeded · Slow down.",
    ]
