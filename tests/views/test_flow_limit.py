"""The number and size of the flows that are kept."""

from mitmproxy import http
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from aibridge_addon.views.flow_limit import FlowLimit, size_of


def flow_of(size: int = 0) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.live = False
    assert flow.response
    flow.response.raw_content = b"x" * size
    return flow


def test_oldest_flow_is_removed_beyond_the_number() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    limit.most = 2
    flows = [flow_of() for _ in range(4)]
    for flow in flows:
        limit.add(flow)
    assert removed == flows[:2]


def test_oldest_flows_are_removed_beyond_the_size() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    limit.most_bytes = 1_000_000
    flows = [flow_of(400_000) for _ in range(4)]
    for flow in flows:
        limit.add(flow)
    assert removed == flows[:2]


def test_flow_is_counted_once_however_often_it_ends() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    limit.most_bytes = 1_000_000
    flow = flow_of(600_000)
    limit.add(flow)
    limit.add(flow)
    limit.add(flow_of(100_000))
    assert removed == []


def test_newest_flow_stays_although_it_is_too_large() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    limit.most_bytes = 1000
    limit.add(flow_of(5000))
    assert removed == []


def test_flow_whose_response_is_being_sent_is_not_removed() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    limit.most = 1
    sending = flow_of()
    sending.live = True
    later = flow_of()
    for flow in (sending, later, flow_of()):
        limit.add(flow)
    assert removed == [later]
    sending.live = False
    limit.add(flow_of())
    assert removed[1] is sending


def test_nothing_is_removed_without_limits() -> None:
    removed: list[http.HTTPFlow] = []
    limit = FlowLimit(removed.append)
    for _ in range(50):
        limit.add(flow_of(1000))
    assert removed == []


def test_messages_of_a_long_websocket_are_bounded() -> None:
    limit = FlowLimit(lambda flow: None)
    limit.most_bytes = 400_000
    flow = tflow.twebsocketflow()
    assert flow.websocket
    flow.websocket.messages.clear()
    for number in range(2000):
        content = b"%04d" % number + b"x" * 996
        flow.websocket.messages.append(WebSocketMessage(Opcode.TEXT, True, content))
        limit.add_message(flow)
        assert size_of(flow) <= 110_000
    assert flow.websocket.messages[-1].content.startswith(b"1999")
    assert len(flow.websocket.messages) > 10
