"""Budgets that admit from the slice that a process owns while their store is away."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from databases import Database
from store.doubles import all_of_one, record, started
from store.test_budgets import budget

from aibridge_addon.budgets.book import BookUnavailableError, BudgetedCall
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql.budgets import LEASE, SQLBudgets
from aibridge_addon.store.threaded_recorder import ThreadedRecorder

SLICE = budget(limit=1_000, unit="tokens", on_store_failure="slice")
HELD = 100
COST = 70
"""Tokens of a call that has ended."""


class Process:
    """A process whose store can be away; works on the thread of the test."""

    def __init__(self, database: Database) -> None:
        recorder = database.store.make_recorder(Retention(), lambda *_: None, Preparation())
        assert isinstance(recorder, ThreadedRecorder)
        self.recorder = recorder
        self.writer: Any = recorder._writer
        self.writer.start()
        self._connection = self.writer.connection

    def lose_store(self) -> None:
        def fail() -> None:
            raise self.writer.unavailable[0]("away")

        self.writer.connection = fail
        self.writer.write_database([])
        self.writer._retry_at = float("inf")

    def find_store(self) -> None:
        self.writer.connection = self._connection
        assert self.writer.write_database([])

    def call(self, *budgets: Budget) -> BudgetedCall:
        return BudgetedCall(
            interception_id=started().id,
            scopes=tuple((given, "alice") for given in budgets),
            estimate=lambda unit: Estimate(worst=HELD, likely=50, input=20),
        )

    async def admit(self, *budgets: Budget, call: BudgetedCall | None = None) -> str | None:
        """Return the interception of an admitted call, None if the store is needed."""
        call = call or self.call(*budgets)
        admitted = asyncio.ensure_future(self.recorder.budget_book().admit(call))
        await asyncio.sleep(0)
        self.recorder._write_queue()
        try:
            assert await admitted is None
        except BookUnavailableError:
            return None
        return call.interception_id

    async def end(self, id_: str) -> None:
        """Record all of an interception."""
        record(self.recorder, *all_of_one(started(id=id_)))
        self.recorder._write_queue()


@pytest.fixture
def process(database: Database) -> Iterator[Process]:
    made = Process(database)
    yield made
    made.writer.close()


def standing(database: Database) -> tuple[int, int, int, int]:
    """Return the charges of the counters and of the ledger, and the number of entries and holds."""
    [(spent,)] = database.select("SELECT coalesce(sum(spent), 0) FROM aibridge_budget_counters")
    [(charged, entries)] = database.select(
        "SELECT coalesce(sum(charge), 0), count(*) FROM aibridge_budget_entries"
    )
    [(holds,)] = database.select("SELECT count(*) FROM aibridge_budget_holds")
    return int(spent), int(charged), entries, holds


async def test_budget_uses_up_its_slice_and_charges_each_call_once_when_the_store_is_back(
    database: Database, process: Process
) -> None:
    assert await process.admit(SLICE)
    process.lose_store()
    admitted = [id_ for _ in range(12) if (id_ := await process.admit(SLICE))]
    assert len(admitted) == 9, "refused when the slice is used up"
    for id_ in admitted[:4]:
        await process.end(id_)
    assert await process.admit(SLICE), "four calls have cost less than was held"
    assert await process.admit(SLICE) is None, "what they have cost is no room"
    [room] = process.recorder.budget_book().set_aside()
    assert (room.is_spare, room.held, room.free) == (True, 700, 20)
    assert standing(database) == (0, 0, 0, 1)
    process.find_store()
    assert not any(room.is_spare for room in process.recorder.budget_book().set_aside())
    assert standing(database) == (4 * COST, 4 * COST, 4, 7)
    for id_ in admitted[4:]:
        await process.end(id_)
    assert standing(database) == (9 * COST, 9 * COST, 9, 2)
    assert await process.admit(SLICE), "admitted with the store again"


async def test_budget_without_the_option_or_without_a_slice_refuses_while_the_store_is_away(
    process: Process,
) -> None:
    strict, other = budget(name="r", limit=1_000), budget(name="o", on_store_failure="slice")
    warning = budget(name="w", action="warn")
    assert await process.admit(SLICE, strict)
    process.lose_store()
    assert await process.admit(SLICE, strict) is None
    assert {room.budget for room in process.recorder.budget_book().set_aside()} == {SLICE.name}
    assert await process.admit(other) is None
    assert await process.admit(SLICE, warning), "a budget that warns refuses nothing"


async def test_call_that_is_not_sent_frees_its_part_of_the_slice(
    database: Database, process: Process
) -> None:
    await process.admit(SLICE)
    process.lose_store()
    for _ in range(20):
        call = process.call(SLICE)
        assert await process.admit(call=call)
        released = asyncio.ensure_future(process.recorder.budget_book().release(call))
        await asyncio.sleep(0)
        process.recorder._write_queue()
        await released
    process.find_store()
    assert standing(database)[3] == 1


async def test_next_process_charges_the_calls_of_one_that_ended_while_the_store_was_away(
    database: Database, process: Process
) -> None:
    await process.end(await process.admit(SLICE) or "")
    process.lose_store()
    ids = [await process.admit(SLICE) for _ in range(3)]
    await process.end(ids[0] or "")
    process.writer.close()
    following = Process(database)
    assert standing(database) == (2 * COST, 2 * COST, 2, 2)
    following.writer.close()


async def test_calls_stay_held_when_the_store_was_away_for_longer_than_a_lease(
    database: Database, process: Process
) -> None:
    await process.admit(SLICE)
    process.lose_store()
    id_ = await process.admit(SLICE) or ""
    now = datetime.now(UTC) + 2 * LEASE
    process.recorder.budget_book()._budgets._clock = lambda: now
    process.find_store()
    with database.connected() as connection, transaction(connection):
        SQLBudgets("other", lambda: now).sweep(connection)
    assert standing(database) == (0, 0, 0, 2)
    await process.end(id_)
    assert standing(database) == (COST, COST, 1, 1)


async def test_call_whose_hold_cannot_be_spooled_is_refused_and_takes_no_room(
    database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(statements: object) -> None:
        raise OSError("read-only")

    await process.admit(SLICE)
    process.lose_store()
    with monkeypatch.context() as patch:
        patch.setattr(process.writer._spool, "append", fail)
        for _ in range(20):
            assert await process.admit(SLICE) is None
    assert await process.admit(SLICE)
    process.find_store()
    assert standing(database) == (0, 0, 0, 2)


async def test_call_whose_estimate_fails_is_refused_without_the_calls_beside_it(
    process: Process,
) -> None:
    def fail(unit: object) -> Estimate:
        raise ZeroDivisionError

    await process.admit(SLICE)
    process.lose_store()
    calls = [replace(process.call(SLICE), estimate=fail), process.call(SLICE)]
    book = process.recorder.budget_book()
    results = asyncio.gather(*map(book.admit, calls), return_exceptions=True)
    await asyncio.sleep(0)
    process.recorder._write_queue()
    failed, admitted = await results
    assert isinstance(failed, BookUnavailableError)
    assert admitted is None
