"""Calls on event loops: one wake-up for all, in order."""

import asyncio
from functools import partial
from pathlib import Path
from unittest.mock import patch

from store.doubles import ended, started, tokens

from aibridge_addon.facts import UsagePriced
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.store.loop_calls import LoopCalls
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder


async def test_calls_on_a_loop_are_made_in_order_after_one_wake_up() -> None:
    made: list[int] = []
    loop = asyncio.get_running_loop()
    calls = LoopCalls()
    with patch.object(loop, "call_soon_threadsafe", wraps=loop.call_soon_threadsafe) as wake_up:
        for number in range(3):
            calls.add(loop, partial(made.append, number))
        calls.send()
        calls.send()
    assert made == []
    await asyncio.sleep(0)
    assert made == [0, 1, 2]
    assert wake_up.call_count == 1


def test_calls_on_a_closed_loop_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    calls = LoopCalls()
    calls.add(loop, lambda: None)
    calls.send()


async def test_prices_and_waiters_of_a_commit_share_a_wake_up(tmp_path: Path) -> None:
    priced: list[UsagePriced] = []
    loop = asyncio.get_running_loop()
    preparation = Preparation(
        PriceBook(),
        lambda facts: preparation.calls.add(loop, partial(priced.extend, facts)),
    )
    recorder = SQLiteRecorder(tmp_path / "a.sqlite3", preparation=preparation)
    with patch.object(loop, "call_soon_threadsafe", wraps=loop.call_soon_threadsafe) as wake_up:
        recorder.start()
        recorder.record_interception(sent := started())
        recorder.record_token_usage(tokens(sent))
        recorder.record_interception_ended(ended(sent))
        assert all(await asyncio.gather(recorder.kept(), recorder.kept()))
        assert [fact.interception for fact in priced] == [sent]
        assert wake_up.call_count == 1
    recorder.close()
