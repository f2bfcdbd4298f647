"""Promised slices: their owner admits calls in memory, and others wait until it gives them back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Database, SQLiteFile
from store.test_budget_slices import WIDE, slices
from store.test_budgets import Book
from store.test_spare_slices import COST, SLICE, Process, standing

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.facts import new_id
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.budgets import LEASE
from aibridge_addon.store.sql.slices import PROMISE_SECONDS


class Monotonic:
    """The clock of promises."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Return an empty database of one machine."""
    return SQLiteFile(tmp_path)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connected() as opened:
        yield opened


@pytest.fixture
def seconds() -> Monotonic:
    return Monotonic()


@pytest.fixture
def book(connection: Connection, seconds: Monotonic) -> Book:
    return Book(connection, promise_clock=seconds)


@pytest.fixture
def other(connection: Connection, seconds: Monotonic, book: Book) -> Book:
    return Book(connection, book.clock, "other", seconds)


def hold(book: Book, worst: int = 10) -> str | None:
    """Admit a call in memory; return its interception."""
    call = BudgetedCall(
        interception_id=new_id(),
        scopes=((WIDE, "alice"),),
        estimate=lambda unit: Estimate(worst=worst, likely=5, input=2),
    )
    return call.interception_id if book.budgets.admit_in_memory(call) else None


def admitted(book: Book) -> Book:
    """Admit a call in a transaction, which sets room aside."""
    book.hold(WIDE)
    book.budgets.committed()
    return book


def test_call_that_ends_before_its_hold_is_written_is_charged_once_without_it(book: Book) -> None:
    id_ = hold(admitted(book))
    assert id_
    book.end(id_, 7)
    book.end(id_)
    assert book.sums() == (7, 7, 10)
    assert slices(book) == {"one": 993}


def test_end_of_a_call_does_not_write_the_hold_of_another_that_has_just_begun(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hold(admitted(book))
    book.end(hold(book) or "", 7)
    book.budgets.committed()
    assert book.sums() == (7, 7, 10)
    monkeypatch.setattr(book.budgets._unwritten, "_due_at", 0.0)
    book.budgets.settle(book.connection, [])
    assert book.sums() == (7, 7, 20)


def test_hold_is_written_before_the_slice_that_covers_it_is_given_up(book: Book) -> None:
    id_ = book.hold(WIDE)
    book.budgets.committed()
    assert hold(book)
    book.budgets.rolled_back()
    book.end(id_, 7)
    assert slices(book) == {}
    assert book.sums() == (7, 7, 10)


def test_transaction_that_fails_leaves_the_holds_to_the_next(book: Book) -> None:
    id_ = hold(admitted(book))
    book.connection.execute("BEGIN")
    book.end(id_ or "", 7)
    book.connection.execute("ROLLBACK")
    book.budgets.rolled_back()
    assert hold(book) is None, "its slice is not sure any more"
    book.budgets.begin(book.connection)
    assert book.sums() == (0, 0, 20)


def test_hold_that_a_process_writes_after_a_long_sleep_is_not_taken_for_one_of_a_dead_process(
    book: Book, other: Book
) -> None:
    assert hold(admitted(book))
    book.clock.now += 2 * LEASE
    book.budgets.begin(book.connection)
    other.budgets.sweep(book.connection)
    assert book.sums() == (0, 0, 20)


def test_call_is_admitted_in_memory_for_a_second_after_the_last_renewal(
    book: Book, seconds: Monotonic
) -> None:
    admitted(book)
    for _ in range(5):
        seconds.now += 0.9
        assert hold(book)
        book.budgets.begin(book.connection)
        book.budgets.committed()
    seconds.now += 1.1
    assert hold(book) is None
    assert hold(admitted(book)), "promised again"


def test_process_that_needs_promised_room_gets_it_once_the_owner_has_written_its_holds(
    book: Book, other: Book, seconds: Monotonic
) -> None:
    assert hold(admitted(book), worst=300)
    refusal = other.refuse(WIDE, worst=600, likely=500)
    assert (refusal.verdict, refusal.is_set_aside) == ("wait", True)
    assert slices(book) == {"one": 1_000}
    seconds.now += 0.3
    book.budgets.begin(book.connection)
    assert (slices(book), book.sums()) == ({}, (0, 0, 310))
    assert other.hold(WIDE, worst=600, likely=500)


def test_promised_room_of_a_dead_process_is_free_when_the_promise_ends(
    book: Book, other: Book, seconds: Monotonic
) -> None:
    admitted(book)
    seconds.now += PROMISE_SECONDS - 0.1
    other.refuse(WIDE, worst=600, likely=500)
    seconds.now += 0.2
    assert other.hold(WIDE, worst=600, likely=500)


def test_promise_from_before_a_restart_of_the_machine_holds_nobody_up(
    book: Book, other: Book, seconds: Monotonic
) -> None:
    admitted(book)
    seconds.now = 5.0
    assert other.hold(WIDE, worst=600, likely=500)


def test_unused_promise_ends(book: Book, other: Book, seconds: Monotonic) -> None:
    admitted(book)
    for _ in range(2):
        seconds.now += 1.1
        assert book.budgets.must_write
        book.budgets.begin(book.connection)
        book.budgets.committed()
    assert not book.budgets.must_write
    assert other.hold(WIDE, worst=600, likely=500)


def test_rebuilt_counters_leave_promised_slices_until_their_owners_give_them_back(
    connection: Connection, database: Database
) -> None:
    book = admitted(Book(connection, promise_clock=time.monotonic))
    database.store.budget_accounts().rebuild()
    assert slices(book) == {"one": 1_000}
    book.budgets._slices.renew(connection)
    assert slices(book) == {}


async def test_calls_in_memory_are_charged_once_after_the_store_was_away(
    database: Database,
) -> None:
    process = Process(database)
    assert await process.admit(SLICE)
    calls = [process.call(SLICE) for _ in range(3)]
    assert all(process.recorder.budget_book().admit_now(call) for call in calls)
    process.lose_store()
    for call in calls[:2]:
        await process.end(call.interception_id)
    assert standing(database) == (0, 0, 0, 1)
    process.find_store()
    assert standing(database) == (2 * COST, 2 * COST, 2, 2)
    process.writer.close()


async def test_hold_of_a_running_call_is_in_the_database_when_its_process_ends(
    database: Database,
) -> None:
    process = Process(database)
    assert await process.admit(SLICE)
    assert process.recorder.budget_book().admit_now(process.call(SLICE))
    assert standing(database)[3] == 1
    process.writer.close()
    assert standing(database)[3] == 2
