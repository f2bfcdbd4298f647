"""Signs of life of a process."""

import asyncio

import pytest
from store.doubles import started

from aibridge_addon.facts import Interception, ProcessSeen, this_process_id
from aibridge_addon.observe import presence
from aibridge_addon.observe.presence import Presence


async def test_signs_of_life_come_until_the_end_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.0)
    seen: asyncio.Queue[ProcessSeen] = asyncio.Queue()
    made = Presence(seen.put_nowait, lambda: 3)

    made.start()
    first = await seen.get()
    made.handlers[Interception](started())
    second = await seen.get()
    made.stop()

    assert (first.id, first.open_requests, first.requests) == (this_process_id(), 3, 0)
    assert (second.requests, second.ended_at) == (1, None)
    assert second.started_at == first.started_at < second.seen_at
    *_, last = [seen.get_nowait() for _ in range(seen.qsize())]
    assert last.ended_at is not None
