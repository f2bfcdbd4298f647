"""Ledger, windows, slices and leases against a simple oracle, whatever happens to processes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlite_utils import Database
from store.test_budgets import Book, Clock

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.facts import new_id
from aibridge_addon.store.columns import BUDGET_HOLD
from aibridge_addon.store.sql.budget_accounts import reset
from aibridge_addon.store.sql.budgets import LEASE
from aibridge_addon.store.sqlite import schema
from aibridge_addon.store.sqlite.writer import execute
from aibridge_addon.store.statements import Statement

LIMIT = 100
INPUT = 2
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
STARTS = [
    datetime(2026, 3, 29, 0, 40, tzinfo=UTC),  # summer time begins in Berlin
    datetime(2026, 10, 25, 0, 40, tzinfo=UTC),  # and ends
    datetime(2026, 11, 1, 5, 30, tzinfo=UTC),  # it ends in New York
    datetime(2026, 4, 4, 14, 40, tzinfo=UTC),  # half an hour of it ends on Lord Howe
    datetime(2028, 2, 29, 23, 50, tzinfo=UTC),
    datetime(2026, 12, 31, 22, 30, tzinfo=UTC),
]
RULES = st.builds(
    WindowRule,
    name=st.sampled_from(["hour", "day", "week", "month", "total"]),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    starts_at=st.sampled_from([time(0), time(2, 30), time(6)]),
) | st.builds(
    WindowRule,
    name=st.sampled_from(["hour", "5h", "day", "week"]),
    zone=st.just(ZoneInfo("UTC")),
    is_rolling=st.just(True),
)


TAKEN = """
SELECT budget, scope, epoch, bucket, spent FROM aibridge_budget_counters
UNION ALL
SELECT budget, scope, epoch, bucket, max(sum(owned), sum(held)) FROM (
    SELECT budget, scope, epoch, bucket, owner, amount AS owned, 0 AS held
    FROM aibridge_budget_slices
    UNION ALL
    SELECT budget, scope, epoch, bucket, owner, 0, amount FROM aibridge_budget_holds
) GROUP BY budget, scope, epoch, bucket, owner
"""
"""Reads the charges of each counter, and the amount that each process takes up of it."""


def window_of(rule_: WindowRule, moment: datetime) -> date | datetime | str:
    """Return the identity of a calendar window by local dates alone; of a rolling one, its step."""
    if rule_.is_rolling:
        step = {"hour": 60, "5h": 300, "day": 1440, "week": 10_080}[rule_.name]
        return str(int(moment.timestamp()) // step)
    if rule_.name == "total":
        return ""
    if rule_.name == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    local = moment.astimezone(rule_.zone)
    start = datetime.combine(local.date(), rule_.starts_at, rule_.zone).astimezone(UTC)
    day = local.date() if moment >= start else local.date() - timedelta(days=1)
    if rule_.name == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if rule_.name == "month" else day


@dataclass
class Open:
    """A call in flight, as the oracle knows it."""

    process: int
    likely: int
    worst: int
    held: dict[tuple[str, str], int]
    windows: dict[tuple[str, str], Any] = field(default_factory=dict)


@dataclass
class Spooled:
    """A call that was admitted without the store."""

    call: Open
    statements: list[Statement]
    cost: int | None = None
    """Its cost, if it has ended."""


class Processes(RuleBasedStateMachine):
    """Three processes on one database; each may crash or lose it, and clocks may step back."""

    def __init__(self) -> None:
        super().__init__()
        self.db = Database(memory=True)
        schema.migrate(self.db)
        self.clock = Clock()
        self.seconds = 0.0
        """The clock of promises, which no step of the other one moves."""
        self.owners = iter(range(10**6))
        self.books = [self.process() for _ in range(3)]
        self.open: dict[str, Open] = {}
        self.orphans: dict[str, Open] = {}
        self.ended: list[str] = []
        self.away: dict[int, dict[str, Spooled]] = {}
        """The calls of processes that cannot reach the database."""
        self.spent: dict[tuple[str, str, Any], int] = defaultdict(int)
        self.excess: dict[tuple[str, str, Any], int] = defaultdict(int)
        """Amount above the limit that the promise allows."""
        self.exceeding: dict[tuple[str, str, Any], int] = defaultdict(int)
        """Calls that cost more than was held for them."""
        self.epochs: dict[tuple[str, str], int] = defaultdict(int)
        self.window_of_counter: dict[tuple[str, str, int, str], Any] = {}

    def process(self) -> Book:
        owner = f"process {next(self.owners)}"
        return Book(self.db.conn, self.clock, owner, promise_clock=lambda: self.seconds)

    def teardown(self) -> None:
        self.check_that_nobody_is_locked_out_for_ever()
        self.db.conn.close()

    @initialize(
        start=st.sampled_from(STARTS),
        rules=st.tuples(RULES, RULES),
        hold=st.sampled_from(["worst", "likely"]),
        strict=st.booleans(),
    )
    def configure(
        self, start: datetime, rules: tuple[WindowRule, WindowRule], hold: Any, strict: bool
    ) -> None:
        self.clock.now = start
        is_strict = strict and hold == "worst"
        given: dict[str, Any] = {"unit": "usd", "hold": hold, "is_strict": is_strict}
        given["on_store_failure"] = "slice"
        self.budgets = (
            Budget(name="own", per="actor", limit=LIMIT, window=rules[0], **given),
            Budget(name="all", per="total", limit=2 * LIMIT, window=rules[1], **given),
        )

    # What happens

    @rule(
        calls=st.lists(
            st.tuples(
                st.integers(0, 2),
                st.sampled_from("aab"),
                st.integers(INPUT, 40),
                st.integers(0, 60),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def admit_several(self, calls: list[tuple[int, str, int, int]]) -> None:
        for call in calls:
            self.admit(*call)

    @rule(
        process=st.integers(0, 2),
        actor=st.sampled_from("aab"),
        likely=st.integers(INPUT, 10),
        more=st.integers(0, 10),
        number=st.integers(1, 6),
    )
    def admit_in_memory(
        self, process: int, actor: str, likely: int, more: int, number: int
    ) -> None:
        """Admit calls after one that sets room aside."""
        self.admit(process, actor, likely, more)
        for _ in range(number if process not in self.away else 0):
            call, admitted = self.call(process, actor, likely, likely + more)
            if self.books[process].budgets.admit_in_memory(call):
                rows = [
                    row for row in self.held() if row["interception_id"] == call.interception_id
                ]
                admitted.held = {(row["budget"], row["scope"]): row["amount"] for row in rows}
                admitted.windows = self.windows_of(call, rows)
                self.open[call.interception_id] = admitted

    def call(self, process: int, actor: str, likely: int, worst: int) -> tuple[BudgetedCall, Open]:
        """Return a call of a process, which is not admitted yet."""
        call = BudgetedCall(
            interception_id=new_id(),
            scopes=tuple(zip(self.budgets, (actor, "total"), strict=True)),
            estimate=lambda unit: Estimate(worst=worst, likely=likely, input=INPUT),
        )
        return call, Open(process, likely, worst, {})

    def admit(self, process: int, actor: str, likely: int, more: int) -> None:
        call, admitted = self.call(process, actor, likely, likely + more)
        budgets = self.books[process].budgets
        if process in self.away:
            self.admit_without_store(process, call, admitted)
            return
        before = self.held()
        refusal = budgets.admit(self.db.conn, call)
        budgets.committed()
        if refusal:
            assert self.held() == before, "a refused request leaves no trace"
            if refusal.verdict in ("wait", "spent"):
                slices = self.count_slices(refusal.budget.name, refusal.scope)
                assert slices == 0, "room that is set aside refuses nobody for long"
            return
        rows = [row for row in self.held() if row["interception_id"] == call.interception_id]
        admitted.held = {(row["budget"], row["scope"]): row["amount"] for row in rows}
        assert admitted.held.keys() == {(budget.name, scope) for budget, scope in call.scopes}
        assert all(row["epoch"] == self.epochs[row["budget"], row["scope"]] for row in rows)
        admitted.windows = self.windows_of(call, rows)
        self.open[call.interception_id] = admitted

    def windows_of(
        self, call: BudgetedCall, rows: Iterable[Mapping[str, Any]]
    ) -> dict[tuple[str, str], Any]:
        """Return the windows of a call that is admitted now, and note which counters they have."""
        windows = {}
        for budget, scope in call.scopes:
            [row] = [row for row in rows if row["budget"] == budget.name]
            epoch = row["epoch"]  # an old one, if a process does not know of a reset
            window = (window_of(budget.window, self.clock.now), epoch)
            windows[budget.name, scope] = window
            self.window_of_counter[budget.name, scope, epoch, row["bucket"]] = window
        return windows

    def admit_without_store(self, process: int, call: BudgetedCall, admitted: Open) -> None:
        statements = self.books[process].budgets.spare.admit(call)
        if statements is None:
            return
        rows: list[Mapping[str, Any]] = [statement.values for statement in statements]
        admitted.held = {(row["budget"], row["scope"]): row["amount"] for row in rows}
        admitted.windows = self.windows_of(call, rows)
        self.away[process][call.interception_id] = Spooled(admitted, statements)

    @rule(process=st.integers(0, 2))
    def lose_store(self, process: int) -> None:
        if process not in self.away:
            budgets = self.books[process].budgets
            budgets.rolled_back()
            spooled: dict[str, Spooled] = {}
            for statement in budgets.spool_holds():
                id_ = str(statement.values["interception_id"])
                if id_ not in spooled:
                    spooled[id_] = Spooled(self.open.pop(id_), [])
                spooled[id_].statements.append(statement)
            self.leave_to_others(process)
            self.away[process] = spooled

    def leave_to_others(self, process: int) -> None:
        """Expect that the calls of a process end with its lease."""
        for id_, call in tuple(self.open.items()):
            if call.process == process:
                self.orphans[id_] = self.open.pop(id_)

    @precondition(lambda self: any(self.away.values()))
    @rule(number=st.integers(0, 99), share=st.sampled_from([0.0, 0.5, 1.0]))
    def end_without_store(self, number: int, share: float) -> None:
        process, calls = next(each for each in sorted(self.away.items()) if each[1])
        id_ = sorted(calls)[number % len(calls)]
        spooled = calls[id_]
        if spooled.cost is not None:
            return
        spooled.cost = INPUT + round((spooled.call.worst - INPUT) * share)
        tokens: dict[str, Any] = dict.fromkeys(
            ("input_tokens", "output_tokens", "cache_write_input_tokens"), 1
        )
        usage: dict[str, Any] = {"id": "u", "interception_id": id_, "cost_nano_usd": spooled.cost}
        end: dict[str, Any] = {"id": id_, "status": "completed", "http_status": 200}
        self.books[process].budgets.spare.settle(
            [Statement("token_usage", {**usage, **tokens}), Statement("interception_ended", end)]
        )

    @precondition(lambda self: self.away)
    @rule()
    def find_store(self) -> None:
        """Let a process reach the database again, which gets what it has spooled."""
        self.ingest(min(self.away), self.books[min(self.away)])

    def ingest(self, process: int, book: Book) -> None:
        """Have a process write what was spooled to the database."""
        owner = self.books[process].owner
        query = "SELECT budget, scope FROM aibridge_budget_slices WHERE owner = ?"
        left = {(budget, scope) for budget, scope in self.db.execute(query, (owner,))}
        calls = self.away.pop(process)
        for id_, spooled in calls.items():
            for statement in spooled.statements:
                execute(self.db.conn, statement)
            book.budgets.settle(self.db.conn, [])  # as the writer does in each transaction
            self.open[id_] = spooled.call
            for key in spooled.call.held.keys() - left:  # another process took the slice away
                most = max(spooled.call.held[key], spooled.cost or 0)
                self.excess[*key, spooled.call.windows[key]] += most
        for id_, spooled in calls.items():
            if spooled.cost is not None:
                book.end(id_, spooled.cost)
                self.settled(id_, self.open.pop(id_), spooled.cost)
        book.budgets.committed()

    @precondition(lambda self: self.open)
    @rule(
        ends=st.lists(
            st.tuples(
                st.integers(0, 99),
                st.integers(0, 2),
                st.sampled_from(["told", "told", "told", "cancelled", "failed", "no usage"]),
                st.sampled_from([0.0, 0.5, 1.0, 1.0]),
                st.integers(1, 3),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def end_several(self, ends: list[tuple[int, int, str, float, int]]) -> None:
        for number, process, how, share, times in ends:
            if self.open and process not in self.away:
                id_ = sorted(self.open)[number % len(self.open)]
                if id_ in self.unwritten():  # nobody else knows of it
                    process = self.open[id_].process
                self.end(id_, process, how, share, times)

    def end(self, id_: str, process: int, how: str, share: float, times: int) -> None:
        call = self.open.pop(id_)
        cost = INPUT + round((call.worst - INPUT) * share)
        book = self.books[process]
        match how:
            case "told":
                book.end(id_, cost)
            case "cancelled":
                cost = max(cost, INPUT)
                book.end(id_, cost, status="cancelled")
            case "failed":
                cost = 0
                book.end(id_, status="refused")
            case _:
                cost = call.likely
                book.end(id_)
        for _ in range(times):
            book.budgets.settle(self.db.conn, [id_])
        book.budgets.committed()
        self.settled(id_, call, cost)

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), process=st.integers(0, 2))
    def settle_again(self, data: st.DataObject, process: int) -> None:
        id_ = data.draw(st.sampled_from(self.ended))
        if process not in self.away:
            self.books[process].budgets.settle(self.db.conn, [id_])
            self.books[process].budgets.committed()

    @rule(process=st.integers(0, 2))
    def crash(self, process: int) -> None:
        """The holds of the process stay until its lease is lost; another reads its spool."""
        following = self.process()
        if process in self.away:
            self.ingest(process, following)
        else:
            for id_ in self.unwritten(process):
                del self.open[id_]  # as if it had never been
        self.leave_to_others(process)
        self.books[process] = following

    @rule(process=st.integers(0, 2))
    def suspend(self, process: int) -> None:
        """Let a process sleep until the others have taken its lease over, and go on."""
        self.write_holds()
        self.seconds += 4 * LEASE.total_seconds() / 3
        self.leave_to_others(process)
        others = [book for number, book in self.reaching() if number != process]
        for _ in range(4):
            self.clock.now += LEASE / 3
            for book in others:
                book.budgets._renew_at = datetime.min.replace(tzinfo=UTC)
                self.sweep(book)
        self.note_lost_leases()

    @rule(name=st.sampled_from(["own", "all"]), scope=st.sampled_from(["a", "b", "*"]))
    def reset(self, name: str, scope: str) -> None:
        reset(self.db.conn, name, scope)
        for each in ("a", "b", "total"):
            self.epochs[name, each] += scope in (each, "*")

    @rule(process=st.integers(0, 2))
    def roll_back(self, process: int) -> None:
        """A transaction fails: the process remembers nothing that it did not commit."""
        self.books[process].budgets.rolled_back()

    @rule(seconds=st.sampled_from([1, 20, 61, 1800, 3600, 5 * 3600, 86_400, 7 * 86_400]))
    def pass_time(self, seconds: int) -> None:
        """Let time pass, in which living processes renew their leases and sweep."""
        self.write_holds()
        self.seconds += seconds
        target = self.clock.now + timedelta(seconds=seconds)
        self.clock.now += min(LEASE / 3, timedelta(seconds=seconds))
        for _, book in self.reaching():
            self.sweep(book)
        self.clock.now = target
        for _ in range(2):
            for _, book in self.reaching():
                # A process that slept longer than its lease renews it before others look.
                book.budgets._renew_at = datetime.min.replace(tzinfo=UTC)
                book.budgets._renew(self.db.conn, self.clock.now)
        for _, book in self.reaching():
            self.sweep(book)
        self.note_lost_leases()

    def sweep(self, book: Book) -> None:
        book.budgets.sweep(self.db.conn)
        book.budgets.committed()

    @rule(seconds=st.sampled_from([0.3, 1.1, 4.9]))
    def pass_moment(self, seconds: float) -> None:
        """Let less time pass than slices are promised for."""
        self.write_holds()
        self.seconds += seconds
        self.clock.now += timedelta(seconds=seconds)

    def write_holds(self) -> None:
        """Write what calls hold in memory: no process waits longer with it than a moment."""
        for _, book in self.reaching():
            book.budgets.begin(self.db.conn)
            book.budgets.committed()

    def reaching(self) -> list[tuple[int, Book]]:
        """Return the processes that reach the database, by their numbers."""
        return [each for each in enumerate(self.books) if each[0] not in self.away]

    @rule(seconds=st.sampled_from([1, 90, 3600]))
    def step_back(self, seconds: int) -> None:
        self.clock.now -= timedelta(seconds=seconds)

    # What must hold

    @invariant()
    def counters_and_entries_are_what_was_spent(self) -> None:
        for budget in getattr(self, "budgets", ()):
            counted, charged, _ = self.books[0].sums(budget.name)
            held = sum(row["amount"] for row in self.held() if row["budget"] == budget.name)
            spent = [amount for (name, *_), amount in self.spent.items() if name == budget.name]
            assert counted == charged == sum(spent)
            calls = (*self.open.values(), *self.orphans.values())
            amounts = [
                amount
                for call in calls
                for (name, _), amount in call.held.items()
                if name == budget.name
            ]
            assert held == sum(amounts)

    @invariant()
    def charges_are_in_the_window_of_their_admission(self) -> None:
        for budget in getattr(self, "budgets", ()):
            rows = self.db.query(
                "SELECT scope, bucket, sum(charge) AS spent FROM aibridge_budget_entries"
                " WHERE budget = ? GROUP BY scope, epoch, bucket HAVING sum(charge) > 0",
                (budget.name,),
            )
            found = sorted((row["scope"], row["spent"]) for row in rows)
            expected = sorted(
                (scope, amount)
                for (name, scope, _), amount in self.spent.items()
                if name == budget.name and amount
            )
            assert found == expected

    @invariant()
    def slices_and_holds_and_charges_are_within_the_limit(self) -> None:
        limits = {
            budget.name: budget.limit
            for budget in getattr(self, "budgets", ())
            if not budget.window.is_rolling  # its steps are not windows
        }
        taken: dict[tuple[str, str, int, str], int] = defaultdict(int)
        self.db.execute("SAVEPOINT taken")
        for row in self.in_memory():
            self.db.table("aibridge_budget_holds").insert(row)
        for budget, scope, epoch, bucket, amount in self.db.execute(TAKEN).fetchall():
            taken[budget, scope, epoch, bucket] += amount
        self.db.execute("ROLLBACK TO taken")
        self.db.execute("RELEASE taken")
        for counter, amount in taken.items():
            if (name := counter[0]) in limits:
                window = self.window_of_counter[counter]
                assert amount <= limits[name] + self.excess[name, counter[1], window]

    @invariant()
    def excess_of_a_window_is_within_the_promise(self) -> None:
        for budget in getattr(self, "budgets", ()):
            if budget.window.is_rolling:
                continue  # its steps are not windows
            for (name, scope, window), spent in self.spent.items():
                if name == budget.name:
                    allowed = self.excess[name, scope, window]
                    assert spent <= budget.limit + allowed
                    most = 0 if budget.is_strict else 1
                    assert budget.hold == "likely" or self.exceeding[name, scope, window] <= most

    def check_that_nobody_is_locked_out_for_ever(self) -> None:
        if not hasattr(self, "budgets"):
            return
        self.write_holds()
        for id_ in tuple(self.open):
            self.orphans[id_] = self.open.pop(id_)
        self.books = [self.process()]
        self.seconds += 10
        self.clock.now += timedelta(days=40)
        self.sweep(self.books[0])
        assert self.held() == []
        opening = [budget for budget in self.budgets if budget.window.name != "total"]
        assert isinstance(self.books[0].admit(*opening, worst=9, likely=5, scope="a"), str)

    # The oracle

    def settled(self, id_: str, call: Open, cost: int) -> None:
        self.ended.append(id_)
        for key, window in call.windows.items():
            self.spent[*key, window] += cost
            # Of a hold below the cost, the rest is the excess that the documentation states.
            self.excess[*key, window] += max(0, cost - call.held[key])
            self.exceeding[*key, window] += cost > call.held[key]

    def note_lost_leases(self) -> None:
        left = {row["interception_id"] for row in self.held()}
        for id_ in tuple(self.orphans):
            if id_ not in left:
                self.settled(id_, self.orphans.pop(id_), INPUT)
        assert set(self.open) <= left, "a living process has lost its holds"

    def count_slices(self, name: str, scope: str) -> int:
        """Return the number of slices that are not marked for their owners to give back."""
        query = (
            "SELECT count(*) FROM aibridge_budget_slices"
            " WHERE budget = ? AND scope = ? AND wanted = 0"
        )
        return int(self.db.execute(query, (name, scope)).fetchone()[0])

    def held(self) -> list[dict[str, Any]]:
        """Return the holds of all processes, also those that are not written."""
        written = list(self.db.query("SELECT * FROM aibridge_budget_holds"))
        return sorted(written + self.in_memory(), key=lambda row: (row["id"], row["budget"]))

    def in_memory(self) -> list[dict[str, Any]]:
        """Return the holds that are not written, as rows."""
        unwritten = [book.budgets._unwritten for _, book in self.reaching()]
        return [
            dict(zip(BUDGET_HOLD, each._row(hold), strict=True))
            for each in unwritten
            for holds in each._waiting.values()
            for hold in holds
        ]

    def unwritten(self, *processes: int) -> set[str]:
        """Return the calls whose holds are not written, of some processes or of all."""
        return {
            row["interception_id"]
            for row in self.in_memory()
            if not processes or row["owner"] in {self.books[each].owner for each in processes}
        }


Processes.TestCase.settings = settings(
    max_examples=examples(50),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestProcesses = Processes.TestCase
