"""WebSocket limits: the size of messages is limited, and large frames take linear time."""

import random
from itertools import pairwise

import pytest
from mitmproxy import connection
from wsproto import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, TextMessage
from wsproto.frame_protocol import FrameProtocol

from aibridge_addon.relay.websocket_limits import FRAME_COST, LimitedConnection


def limited(most: int | None) -> LimitedConnection:
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
    made = LimitedConnection(ConnectionType.SERVER, [], conn=client)
    made.most = most
    return made


def received(side: LimitedConnection, data: bytes, piece: int = 10**9) -> list[Event]:
    """Feed bytes in pieces, as mitmproxy's layer does; return the events."""
    events: list[Event] = []
    for start in range(0, len(data), piece):
        side.receive_data(data[start : start + piece])
        for event in side.events():
            events.append(event)
            if isinstance(event, TextMessage):
                side.frame_buf[-1] += event.data.encode()
            elif isinstance(event, BytesMessage):
                side.frame_buf[-1] += event.data
            elif isinstance(event, CloseConnection):
                return events
    return events


def frames(*parts: str | bytes) -> bytes:
    """Return the frames of one message."""
    wire = FrameProtocol(client=True, extensions=[])
    last = len(parts) - 1
    return b"".join(wire.send_data(part, fin=at == last) for at, part in enumerate(parts))


def is_closed(events: list[Event]) -> bool:
    return [event.code for event in events if isinstance(event, CloseConnection)] == [1009]


@pytest.mark.parametrize("piece", [10, 1000])
@pytest.mark.parametrize("kind", [str, bytes])
def test_websocket_message_above_the_limit_becomes_a_close(piece: int, kind: type) -> None:
    for size, closes in ((100, False), (101, True)):
        content = "a" * size if kind is str else b"a" * size
        side = limited(100 + FRAME_COST)
        assert is_closed(received(side, frames(content), piece)) is closes


def test_websocket_text_is_measured_in_bytes() -> None:
    assert is_closed(received(limited(100 + FRAME_COST), frames("\u00e4" * 51)))


def test_limit_applies_to_each_websocket_message() -> None:
    side = limited(100 + FRAME_COST)
    events = received(side, frames(b"a" * 90) * 20)
    assert len(events) == 20
    assert not is_closed(events)


def test_many_small_websocket_frames_count_for_their_objects() -> None:
    assert is_closed(received(limited(1000), frames(*[b"a"] * 20)))


def test_all_websocket_messages_pass_without_a_limit() -> None:
    assert not is_closed(received(limited(None), frames(b"a" * 10**6)))


def test_pieces_of_a_websocket_frame_are_appended_in_place() -> None:
    side = limited(None)
    whole = frames(random.Random(1).randbytes(1000))
    seen = []
    for start in range(0, len(whole), 100):
        received(side, whole[start : start + 100])
        seen.append(side.frame_buf[-1])
    assert all(before is after for before, after in pairwise(seen))
    assert bytes(side.frame_buf[-1]) == random.Random(1).randbytes(1000)
    side.frame_buf = [b""]
    side.frame_buf.append(b"")
    side.frame_buf[-1] += b"x"
    assert b"".join(side.frame_buf) == b"x"
