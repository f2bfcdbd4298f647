"""Budgets in a database: holds and charges, exactly once, whatever happens in between."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from databases import Database
from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlite_utils import Database as SQLiteUtils
from store.doubles import all_of_one, started

from aibridge_addon.budgets.book import BookUnavailableError, BudgetedCall, BudgetRefusal
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.facts import new_id
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.recorder import fact_handlers
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.budgets import LEASE, SQLBudgets
from aibridge_addon.store.sqlite import schema
from aibridge_addon.store.threaded_recorder import ThreadedRecorder

DAY = WindowRule(name="day", zone=ZoneInfo("Europe/Berlin"))


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 28, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def budget(name: str = "b", limit: int = 100, **values: Any) -> Budget:
    given: dict[str, Any] = {"name": name, "per": "actor", "unit": "usd", "window": DAY}
    return Budget(**given | {"limit": limit} | values)


@dataclass
class Book:
    """A database with the budgets of one process."""

    connection: Connection
    clock: Clock = field(default_factory=Clock)
    owner: str = "one"
    promise_clock: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        self.budgets = SQLBudgets(self.owner, self.clock, promise_clock=self.promise_clock)

    def admit(
        self,
        *budgets: Budget,
        worst: int = 10,
        likely: int = 5,
        scope: str = "alice",
        **values: Any,
    ) -> str | BudgetRefusal:
        """Admit a call; return its interception, or the refusal."""
        id_ = new_id()
        call = BudgetedCall(
            interception_id=values.pop("id", id_),
            scopes=tuple((budget, scope) for budget in budgets),
            estimate=lambda unit: Estimate(worst=worst, likely=likely, input=2),
            **values,
        )
        refusal = self.budgets.admit(self.connection, call)
        return call.interception_id if refusal is None else refusal

    def refuse(self, *budgets: Budget, **values: Any) -> BudgetRefusal:
        refusal = self.admit(*budgets, **values)
        assert isinstance(refusal, BudgetRefusal)
        return refusal

    def hold(self, *budgets: Budget, **values: Any) -> str:
        id_ = self.admit(*budgets, **values)
        assert isinstance(id_, str)
        return id_

    def end(self, id_: str, *costs: int | None, status: str = "completed") -> list[Any]:
        """Record the end of an interception and its usages, and settle it."""
        self.connection.execute(
            "INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider,"
            " provider_name, api, started_at, ended_at, status, http_status) VALUES"
            " (?, 'alice', '{}', 'anthropic', 'anthropic', 'anthropic_messages', '', '', ?, 200)"
            " ON CONFLICT (id) DO UPDATE SET status = excluded.status",
            (id_, status),
        )
        for cost in costs:
            self.connection.execute(
                "INSERT INTO aibridge_token_usages (id, interception_id, created_at, input_tokens,"
                " output_tokens, cache_write_input_tokens, cost_nano_usd)"
                " VALUES (?, ?, '', 1, 2, 4, ?)",
                (new_id(), id_, cost),
            )
        return self.budgets.settle(self.connection, [id_])

    def sums(self, name: str = "b") -> tuple[int, int, int]:
        """Return the counter, the sum of the entries, and the sum of the holds of a budget."""
        tables = ("counters", "spent"), ("entries", "charge"), ("holds", "amount")
        found = [
            self.connection.execute(
                f"SELECT coalesce(sum({column}), 0) FROM aibridge_budget_{table} WHERE budget = ?",
                (name,),
            ).fetchone()[0]
            for table, column in tables
        ]
        return found[0], found[1], found[2]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connected() as opened:
        yield opened


@pytest.fixture
def book(connection: Connection) -> Book:
    return Book(connection)


def test_hold_is_replaced_by_the_cost_of_all_upstream_requests(book: Book) -> None:
    id_ = book.hold(budget())
    assert book.sums() == (0, 0, 10)
    book.end(id_, 3, 4)
    assert book.sums() == (7, 7, 0)


def test_end_that_is_settled_again_is_charged_once(book: Book) -> None:
    id_ = book.hold(budget())
    book.end(id_, 3)
    for _ in range(3):
        assert book.budgets.settle(book.connection, [id_]) == []
    assert book.sums() == (3, 3, 0)


def test_store_without_budgets_executes_one_query_for_all_ends_of_a_transaction(
    book: Book, connection: Connection
) -> None:
    executed: list[str] = []

    class Listening:
        def execute(self, query: str, *values: Any) -> Any:
            executed.append(query)
            return connection.execute(query, *values)

    ended = [new_id() for _ in range(3)]
    book.budgets.settle(cast("Connection", Listening()), ended)
    assert executed == [budget_sql.ARE_COUNTED]
    book.end(book.hold(budget()), 7)
    book.budgets.settle(cast("Connection", Listening()), ended)
    assert len(executed) > 1 + len(ended)


def test_budgets_of_a_request_hold_all_or_none(book: Book) -> None:
    wide, narrow = budget("wide", 1000), budget("narrow", 4)
    refusal = book.refuse(wide, narrow)
    assert (refusal.budget.name, refusal.verdict) == ("narrow", "too_large")
    assert book.sums("wide") == (0, 0, 0)


def test_holds_of_an_inner_loop_are_settled_with_one_charge(book: Book) -> None:
    id_ = book.hold(budget())
    book.hold(budget(), id=id_)
    assert book.sums() == (0, 0, 20)
    book.end(id_, 3, 4)
    assert book.sums() == (7, 7, 0)


def test_inner_loop_is_charged_before_its_next_request_and_does_not_wait_for_itself(
    book: Book,
) -> None:
    id_ = book.hold(budget(), worst=90)
    assert book.refuse(budget(), worst=90, id=id_).verdict == "wait"
    book.connection.execute(
        "INSERT INTO aibridge_token_usages (id, interception_id, created_at, cost_nano_usd)"
        " VALUES ('1', ?, '', 3)",
        (id_,),
    )
    book.budgets.settle_so_far(book.connection, id_)
    assert book.sums() == (3, 3, 0)
    book.hold(budget(), worst=90, id=id_)
    book.end(id_, 4)
    assert book.sums() == (7, 7, 0)


def test_request_whose_usage_is_not_known_yet_keeps_its_hold(book: Book) -> None:
    id_ = book.hold(budget())
    book.budgets.settle_so_far(book.connection, id_)
    assert book.sums() == (0, 0, 10)


def test_spent_budget_opens_again_at_the_end_of_its_window(book: Book) -> None:
    book.end(book.hold(budget(limit=10)), 10)
    refusal = book.refuse(budget(limit=10))
    assert (refusal.verdict, refusal.standing.spent) == ("spent", 10)
    assert refusal.opens_at == datetime(2026, 11, 28, 23, tzinfo=UTC)
    book.clock.now = refusal.opens_at
    book.hold(budget(limit=10))


def test_rolling_window_opens_when_its_oldest_charges_have_left_it(book: Book) -> None:
    rolling = budget(limit=10, window=WindowRule(name="5h", zone=DAY.zone, is_rolling=True))
    book.end(book.hold(rolling), 10)
    refusal = book.refuse(rolling)
    assert refusal.opens_at == datetime(2026, 11, 28, 17, 5, tzinfo=UTC)
    book.clock.now = refusal.opens_at - timedelta(seconds=1)
    book.refuse(rolling)
    book.clock.now = refusal.opens_at
    book.hold(rolling)


def test_call_belongs_to_the_window_in_which_it_was_admitted(book: Book) -> None:
    id_ = book.hold(budget(limit=10))
    book.clock.now += timedelta(days=1)
    book.end(id_, 10)
    book.hold(budget(limit=10))


def test_money_that_is_left_is_stated_by_the_budgets_that_show_it(book: Book) -> None:
    left: list[int] = []
    shown = replace(budget(limit=30), shows_remaining=True)
    book.end(book.hold(shown, budget("other", limit=5), worst=5, remaining=left), 4)
    assert left == [25]
    book.hold(shown, worst=20, remaining=left)
    assert left == [6]
    book.hold(shown, worst=20, likely=1, remaining=left, must_hold=True)
    assert left == [5]


def test_scopes_are_counted_apart(book: Book) -> None:
    book.end(book.hold(budget(limit=10)), 10)
    book.refuse(budget(limit=10))
    book.hold(budget(limit=10), scope="bob")


def test_reset_begins_anew_and_open_holds_settle_into_the_old_count(book: Book) -> None:
    open_call = book.hold(budget(limit=10))
    book.end(book.hold(budget(limit=20)), 10)
    book.connection.execute(
        "INSERT INTO aibridge_budget_resets (id, budget, scope, created_at)"
        " VALUES ('1', 'b', 'alice', '')"
    )
    fresh = book.hold(budget(limit=10))
    book.end(open_call, 10)
    book.end(fresh, 1)
    assert book.refuse(budget(limit=1)).standing.spent == 1


def test_thresholds_are_reported_once_per_window(book: Book) -> None:
    first = book.end(book.hold(budget(limit=10, hold="likely")), 8)
    assert [warning.percent for warning in first] == [80]
    second = book.hold(budget(limit=10, hold="likely"), likely=1)
    assert [warning.percent for warning in book.end(second, 4)] == [100]
    book.clock.now += timedelta(days=1)
    again = book.end(book.hold(budget(limit=10)), 9)
    assert [warning.percent for warning in again] == [80]


def test_call_that_cannot_be_refused_is_held_in_a_spent_budget(book: Book) -> None:
    book.end(book.hold(budget(limit=10)), 10)
    id_ = book.hold(budget(limit=10), must_hold=True)
    book.end(id_, 3)
    assert book.sums() == (13, 13, 0)


def test_background_response_is_charged_its_estimate_and_corrected_by_its_usage(
    book: Book,
) -> None:
    id_ = book.hold(budget())
    book.budgets.settle(book.connection, [id_])
    estimated = book.sums()
    assert estimated[2] == 0
    book.end(id_, 7)
    assert book.sums() == (7, 7, 0)
    book.budgets.settle(book.connection, [id_])
    assert book.sums() == (7, 7, 0)


def test_call_in_another_unit_is_not_free_in_a_budget_of_tokens(book: Book) -> None:
    id_ = book.hold(budget(unit="tokens"))
    book.connection.execute(
        "INSERT INTO aibridge_token_usages (id, interception_id, created_at, extra, cost_nano_usd)"
        " VALUES (?, ?, '', '{\"input_audio_seconds\": 9.5}', 7)",
        (new_id(), id_),
    )
    book.end(id_)
    assert book.sums() == (2, 2, 0), "the estimated input"
    book.budgets.settle(book.connection, [id_])
    assert book.sums() == (2, 2, 0)


def test_batch_without_a_price_is_counted_as_unpriced_when_its_usage_comes(book: Book) -> None:
    id_ = book.hold(budget(), worst=0, likely=0)
    book.budgets.settle(book.connection, [id_])
    book.end(id_, None)
    how = book.connection.execute("SELECT how FROM aibridge_budget_entries ORDER BY how").fetchall()
    assert [tuple(row) for row in how] == [("estimated",), ("unpriced",)]


def test_holds_of_a_dead_process_are_settled_once_its_lease_has_expired(
    connection: Connection, book: Book
) -> None:
    other = Book(connection, book.clock, "other")
    other.hold(budget(), worst=90)
    assert book.refuse(budget(), worst=90).verdict == "wait"
    book.budgets.sweep(connection)
    assert book.sums() == (0, 0, 90), "the other process may live"
    book.clock.now += LEASE + timedelta(seconds=1)
    book.budgets.sweep(connection)
    assert book.sums() == (2, 2, 0), "the input was sent"


def test_hold_that_missed_the_end_of_its_interception_is_settled_by_the_sweep(
    book: Book,
) -> None:
    id_ = new_id()
    book.end(id_, 7)
    book.hold(budget(), id=id_)
    book.budgets.sweep(book.connection)
    assert book.sums() == (7, 7, 0)


def test_hold_after_a_settlement_is_not_charged_again(book: Book) -> None:
    id_ = book.hold(budget())
    book.end(id_, 7)
    book.hold(budget(), id=id_)
    book.budgets.sweep(book.connection)
    assert book.sums() == (7, 7, 0)


async def test_call_is_held_before_its_end_although_both_are_written_at_once(
    database: Database,
) -> None:
    recorder = database.store.make_recorder(Retention(), lambda name, count: None, Preparation())
    assert isinstance(recorder, ThreadedRecorder)
    recorder._writer.start()
    try:
        interception = started()
        call = BudgetedCall(
            interception_id=interception.id,
            scopes=((budget(), "alice"),),
            estimate=lambda unit: Estimate(worst=10, likely=5, input=2),
            must_hold=True,
        )
        held = recorder.budget_book().hold(call)
        for fact in all_of_one(interception):
            fact_handlers(recorder)[type(fact)](fact)
        recorder._write_queue()
        await held
    finally:
        recorder._writer.close()
    count = "SELECT count(*) FROM aibridge_budget_"
    assert database.select(f"{count}holds") == [(0,)]
    assert database.select(f"{count}entries") == [(1,)]


async def test_admission_that_fails_by_itself_does_not_fail_the_others_of_its_transaction(
    database: Database,
) -> None:
    def broken(unit: object) -> Estimate:
        raise ZeroDivisionError

    recorder = database.store.make_recorder(Retention(), lambda name, count: None, Preparation())
    assert isinstance(recorder, ThreadedRecorder)
    recorder._writer.start()
    try:
        book = recorder.budget_book()
        calls = [
            BudgetedCall(
                interception_id=new_id(),
                scopes=((budget(), "alice"),),
                estimate=broken if is_broken else lambda unit: Estimate(worst=9, likely=5, input=2),
            )
            for is_broken in (False, True, False)
        ]
        held = [asyncio.ensure_future(book.admit(call)) for call in calls]
        await asyncio.sleep(0)
        recorder._write_queue()
        results = await asyncio.gather(*held, return_exceptions=True)
    finally:
        recorder._writer.close()
    assert [results[0], results[2]] == [None, None]
    assert isinstance(results[1], BookUnavailableError)
    found = {id_ for (id_,) in database.select("SELECT interception_id FROM aibridge_budget_holds")}
    assert found == {calls[0].interception_id, calls[2].interception_id}


def test_live_process_keeps_its_holds_by_renewing_its_lease(
    connection: Connection, book: Book
) -> None:
    other = Book(connection, book.clock, "other")
    other.hold(budget())
    for _ in range(10):
        book.clock.now += LEASE / 2
        if other.budgets.is_sweep_due():
            other.budgets.sweep(connection)
        book.budgets.sweep(connection)
    assert book.sums() == (0, 0, 10)


def test_process_that_commits_all_the_time_still_settles_what_a_dead_one_left(
    connection: Connection, book: Book
) -> None:
    Book(connection, book.clock, "dead").hold(budget(), worst=90)
    book.hold(budget("own"))
    book.budgets.committed()
    for _ in range(10):
        book.clock.now += LEASE / 4
        book.budgets.settle(connection, [])  # which renews the lease
        book.budgets.committed()
        if book.budgets.is_sweep_due():
            book.budgets.sweep(connection)
            book.budgets.committed()
    assert (book.sums(), book.sums("own")) == ((2, 2, 0), (0, 0, 10))


class Ledger(RuleBasedStateMachine):
    """Two processes on one database, against sums in memory."""

    LIMIT = 60
    calls: Bundle[tuple[str, int]] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.db = SQLiteUtils(memory=True)
        schema.migrate(self.db)
        clock = Clock()
        self.books = [Book(self.db.conn, clock, owner) for owner in ("one", "two")]
        self.open: dict[str, tuple[int, int]] = {}
        self.spent: dict[str, int] = {}

    def teardown(self) -> None:
        self.db.conn.close()

    @rule(
        target=calls,
        process=st.integers(0, 1),
        likely=st.integers(1, 20),
        more=st.integers(0, 40),
        strict=st.booleans(),
    )
    def admit(self, process: int, likely: int, more: int, strict: bool) -> tuple[str, int]:
        limit = budget(limit=self.LIMIT, is_strict=strict)
        found = self.books[process].admit(limit, worst=likely + more, likely=likely)
        if isinstance(found, str):
            self.open[found] = likely, likely + more
            return found, likely
        return "", 0

    @rule(call=calls, process=st.integers(0, 1), share=st.floats(0, 1), times=st.integers(1, 2))
    def end(self, call: tuple[str, int], process: int, share: float, times: int) -> None:
        id_, _ = call
        if id_ in self.open:
            least, most = self.open.pop(id_)
            cost = least + round((most - least) * share)
            self.spent[id_] = cost
            self.books[process].end(id_, cost)
        for _ in range(times):
            if id_:
                self.books[process].budgets.settle(self.db.conn, [id_])

    @rule(hours=st.integers(0, 30), lives=st.booleans())
    def pass_time(self, hours: int, lives: bool) -> None:
        if not self.open:
            self.books[0].clock.now += timedelta(hours=hours)
        for book in self.books:
            book.budgets.sweep(self.db.conn)

    @invariant()
    def counters_are_the_sum_of_the_entries_and_of_what_was_spent(self) -> None:
        counted, entries, held = self.books[0].sums()
        assert counted == entries == sum(self.spent.values())
        assert (held > 0) == bool(self.open)

    @invariant()
    def spent_and_held_exceed_the_limit_by_one_call_at_most(self) -> None:
        rows = self.db.query(
            "SELECT bucket, sum(spent) AS spent FROM aibridge_budget_counters GROUP BY bucket"
        )
        for row in rows:
            assert row["spent"] <= self.LIMIT + 40 + 20


Ledger.TestCase.settings = settings(
    max_examples=examples(40),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedger = Ledger.TestCase
