"""Slices of budgets: room that a process has set aside, which anybody may take away."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from databases import Database
from store.test_budgets import DAY, Book, budget

from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.budget_accounts import reset
from aibridge_addon.store.sql.budgets import LEASE


class Listening:
    """A connection that notes its statements."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.tables = ""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        self.tables += sql
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        self.tables += sql
        return self._connection.executemany(sql, parameters)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connected() as opened:
        yield opened


@pytest.fixture
def book(connection: Connection) -> Book:
    return Book(connection)


@pytest.fixture
def other(connection: Connection, book: Book) -> Book:
    """Return the book of another process."""
    return Book(connection, book.clock, "other")


WIDE = budget(limit=1_000)


def slices(book: Book) -> dict[str, int]:
    """Return the slices of all processes."""
    rows = book.connection.execute("SELECT owner, amount FROM aibridge_budget_slices").fetchall()
    return {row[0]: row[1] for row in rows}


def is_admitted_from_slice(book: Book, given: Budget = WIDE, **values: Any) -> bool:
    """Admit a call; return True if nobody looked at what was spent for it."""
    connection = book.connection
    listening = Listening(connection)
    book.connection = listening
    try:
        book.hold(given, **values)
    finally:
        book.connection = connection
    return "aibridge_budget_counters" not in listening.tables


def test_only_process_owns_all_the_room_and_asks_again_at_half(book: Book) -> None:
    assert not is_admitted_from_slice(book)
    assert slices(book) == {"one": 1_000}
    (aside,) = book.budgets.set_aside()
    assert (aside.budget, aside.held, aside.free) == (WIDE.name, 10, 990)
    from_slice = [is_admitted_from_slice(book) for _ in range(60)]
    assert from_slice.count(False) == 1
    assert book.sums() == (0, 0, 610)


def test_admissions_are_transactions_below_a_tenth_of_the_limit(book: Book) -> None:
    book.hold(WIDE, worst=901)
    assert slices(book) == {}
    assert not is_admitted_from_slice(book)


def test_slice_admits_no_more_than_the_limit_and_gets_back_what_calls_do_not_use(
    book: Book,
) -> None:
    strict, spent = budget(limit=1_000, is_strict=True), 0
    book.hold(strict, worst=300)
    for cost in (10, 4) * 100:
        admitted = book.admit(strict)
        if not isinstance(admitted, str):
            break
        book.end(admitted, cost)
        spent += cost
    assert 690 < spent <= 700
    assert book.sums() == (spent, spent, 300)


def test_charge_that_crosses_a_threshold_reports_it_although_calls_come_from_slices(
    book: Book,
) -> None:
    watched = budget(limit=1_000, warn_at=(30, 80))
    crossed = {
        warning.percent: number
        for number in range(1, 100)
        for warning in book.end(book.hold(watched), 10)
    }
    assert crossed == {30: 30, 80: 80}


def test_charge_that_crosses_a_threshold_reports_it_after_its_slice_was_taken_away(
    book: Book, other: Book
) -> None:
    watched = budget(limit=1_000, warn_at=(95,))
    other.end(other.hold(watched), 0)
    admitted = book.hold(watched)
    assert not other.end(other.hold(watched), 945), "more than its hold"
    assert not book.end(admitted, 8), "its slice hides that it crosses the threshold"
    other.refuse(watched, worst=60, likely=60)
    [warning] = book.end(book.hold(watched), 1)
    assert (warning.percent, warning.spent) == (95, 954)


ROLLING = WindowRule(name="5h", zone=ZoneInfo("UTC"), is_rolling=True)


@pytest.mark.parametrize("window", [DAY, ROLLING], ids=["day", "rolling"])
def test_threshold_that_the_slice_of_an_ended_process_hid_is_reported_by_another(
    book: Book, other: Book, window: WindowRule
) -> None:
    watched = budget(limit=1_000, warn_at=(95,), window=window)
    seen = budget("c", warn_at=(50,), window=window)
    assert [each.percent for each in other.end(other.hold(seen), 60)] == [50]
    other.end(other.hold(watched), 0)
    admitted = book.hold(watched)
    assert not other.end(other.hold(watched), 945), "more than its hold"
    assert not book.end(admitted, 8), "its slice hides that it crosses the threshold"
    [warning] = other.budgets.sweep(other.connection)
    assert (warning.percent, warning.spent) == (95, 953)
    book.clock.now += timedelta(minutes=6)
    for each in (other, book):
        assert not each.budgets.sweep(each.connection), "once in a window"


def test_call_that_is_not_sent_leaves_its_room_to_the_slice(book: Book) -> None:
    book.hold(WIDE)
    row = "SELECT id FROM aibridge_budget_holds"
    for _ in range(200):
        assert is_admitted_from_slice(book)
        newest = book.connection.execute(f"{row} ORDER BY created_at DESC, id DESC").fetchone()[0]
        book.budgets.release(book.connection, newest)
    assert book.sums() == (0, 0, 10)


def test_processes_share_the_room_and_take_slices_away_that_they_need(
    book: Book, other: Book
) -> None:
    book.hold(WIDE)
    other.hold(WIDE)
    assert slices(book) == {"other": 10 + 98}, "the larger of 8 estimates and a tenth"
    assert not is_admitted_from_slice(book), "its slice is gone"
    other.hold(WIDE, worst=800)
    refusal = book.refuse(WIDE, worst=200, likely=180)
    assert refusal.verdict == "wait"
    assert slices(book) == {}
    assert refusal.standing.held == book.sums()[2], "nothing but calls stands in the way"


def test_slice_of_a_process_that_lost_its_lease_is_free_again(book: Book, other: Book) -> None:
    admitted = book.hold(WIDE)
    book.clock.now += LEASE + timedelta(seconds=1)
    other.budgets.sweep(other.connection)
    assert slices(book) == {}
    assert book.sums() == (2, 2, 0), "the input of its call is charged"
    assert not is_admitted_from_slice(book), "it lives after all"
    book.end(admitted, 9)
    assert book.sums() == (9, 9, 10), "the charge is corrected"


def test_reset_begins_a_new_count_also_for_a_process_with_a_slice(book: Book) -> None:
    book.end(book.hold(WIDE, worst=700), 700)
    reset(book.connection, "b", "*")
    assert not is_admitted_from_slice(book, worst=900)


def test_changed_limit_or_new_window_ends_a_slice(book: Book) -> None:
    book.hold(WIDE)
    assert not is_admitted_from_slice(book, budget(limit=500))
    book.clock.now += timedelta(days=1)
    assert not is_admitted_from_slice(book, budget(limit=500))


def test_unused_slice_is_given_back(book: Book) -> None:
    book.end(book.hold(WIDE), 5)
    for left in ({"one": 995}, {}):
        book.budgets.sweep(book.connection)
        assert slices(book) == left


def test_call_that_another_process_settles_takes_its_charge_out_of_no_other_room(
    book: Book, other: Book
) -> None:
    admitted = book.hold(WIDE)
    other.end(admitted, 10)
    assert slices(book) == {}
    assert not is_admitted_from_slice(book)


def test_account_tells_what_is_set_aside_from_what_calls_hold(
    database: Database, book: Book, other: Book
) -> None:
    for each in (book, other):
        each.hold(WIDE)
    [account] = database.store.budget_accounts().accounts([WIDE], book.clock.now)
    assert (account.held, account.set_aside, account.room) == (20, 98, 980)


def test_budget_that_only_warns_counts_without_a_look_at_its_room(book: Book) -> None:
    warning = budget(limit=10, action="warn")
    book.hold(warning)
    assert all(is_admitted_from_slice(book, warning) for _ in range(5))
    assert slices(book) == {"one": 0}
