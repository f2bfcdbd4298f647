"""The items that a WebSocket has said before a request are bounded in number and size."""

import msgspec

from aibridge_addon.exchange.recent_items import RecentItems


def added(items: RecentItems, *contents: bytes) -> list[bytes]:
    items.extend(map(msgspec.Raw, contents))
    return [bytes(item) for item in items]


def test_oldest_items_are_dropped_beyond_a_size() -> None:
    items = RecentItems(10)

    assert added(items, b'"aa"', b'"bb"') == [b'"aa"', b'"bb"']
    assert added(items, b'"cc"') == [b'"bb"', b'"cc"']
    assert added(items, b'"%b"' % (b"d" * 20)) == []
    assert added(items, b'"ee"') == [b'"ee"']


def test_oldest_items_are_dropped_beyond_a_number() -> None:
    assert added(RecentItems(100, most=2), b"1", b"2", b"3") == [b"2", b"3"]


def test_cleared_items_leave_room_for_others() -> None:
    items = RecentItems(10)
    added(items, b'"aaaaaaaa"')

    items.clear()

    assert added(items, b'"bbbbbbbb"') == [b'"bbbbbbbb"']
