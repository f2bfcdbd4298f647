"""A flow holds WebSocket messages without handles and client secrets; the relay sends them."""

import json

import pytest
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from aibridge_addon.relay.masked_messages import mask_last_message

SECRET = "0123456789-secret-0123456789"


@pytest.mark.parametrize(
    "message",
    [
        {"sessionResumptionUpdate": {"newHandle": SECRET, "resumable": True}},
        {"session_resumption_update": {"resumable": True, "new_handle": SECRET}},
        {"setup": {"model": "m", "sessionResumption": {"handle": SECRET}}},
        {"setup": {"session_resumption": {"transparent": True, "handle": SECRET}}},
        {"type": "session.updated", "client_secret": SECRET},
    ],
)
def test_secret_of_a_message_is_masked_in_the_flow_alone(message: object) -> None:
    flow = tflow.twebsocketflow()
    assert flow.websocket
    relayed = WebSocketMessage(Opcode.TEXT, False, json.dumps(message, indent=1).encode())
    flow.websocket.messages.append(relayed)

    mask_last_message(flow)

    shown = flow.websocket.messages[-1]
    assert SECRET not in repr(shown.get_state())
    assert json.loads(shown.content).keys() == json.loads(relayed.content).keys()
    assert json.loads(relayed.content) == message
    shown.drop()
    assert relayed.dropped


def test_message_without_secrets_stays_as_it_is() -> None:
    flow = tflow.twebsocketflow()
    assert flow.websocket
    relayed = WebSocketMessage(Opcode.TEXT, True, b'{"handle": "@alice", "text": "resumption"}')
    flow.websocket.messages.append(relayed)

    mask_last_message(flow)

    assert flow.websocket.messages[-1] is relayed
