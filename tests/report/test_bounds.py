"""Reports of complete days are answered by the roll-up, and read few of its rows."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from report.databases import database, roll_up
from store.doubles import ended, started, tokens, tool

from aibridge_addon.report.queries import RequestQuery, TotalsQuery, grouped
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.sql.reports import latency, people, requests, sessions, totals
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite.reports.reader import define_functions
from aibridge_addon.store.statements import statements

DAYS, PER_DAY = 45, 8
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
type Read = Callable[[sqlite3.Connection, RequestQuery], object]


def by(*names: str) -> Read:
    """Return the function that reads totals by some groupings."""
    return lambda connection, query: totals.read(connection, grouped(query, names))


ROLLED: dict[str, Read] = {
    "by model": by("model"),
    "by day and model": by("day", "model"),
    "by week and actor": by("week", "actor"),
    "by session": by("session"),
    "by session and day": by("session", "day"),
    "by tool": by("tool"),
    "by actor and tool": by("actor", "tool"),
    "people": people.read,
    "latency": latency.read,
}
FILTERS: dict[str, dict[str, object]] = {
    "all": {},
    "a model": {"models": ("opus",)},
    "an unknown model": {"models": ("opus-9",)},
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Return a database with the same requests at noon of each of the last days, rolled up."""
    path: Path = tmp_path_factory.mktemp("bounds") / "a.sqlite3"
    with database(path) as opened:
        with transaction(opened):
            for day in range(DAYS):
                _fill(opened, NOON - timedelta(days=day + 1))
        roll_up(opened)
        define_functions(opened)
        yield opened


def _fill(connection: sqlite3.Connection, moment: datetime) -> None:
    for number in range(PER_DAY):
        request = started(
            started_at=(moment + timedelta(seconds=number)).isoformat(timespec="microseconds"),
            initiator_id=("alice", "bob")[number % 2],
            model=("opus", "haiku")[number % 2],
            client_session_id=f"s-{moment.month}",
        )
        end = (moment + timedelta(seconds=number + 2)).isoformat(timespec="microseconds")
        facts = (request, tokens(request), tool(request), ended(request, ended_at=end))
        for statement in statements(facts):
            connection.execute(SQL[statement.kind], statement.values)


def instructions(connection: sqlite3.Connection, read: Callable[[], object]) -> int:
    """Return the number of instructions of SQLite's machine that a report takes, in hundreds."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 100)
    read()
    connection.set_progress_handler(None, 0)
    return count


def period(days: int) -> str:
    """Return the local midnight some days ago."""
    day = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return (day - timedelta(days=days)).astimezone(UTC).isoformat(timespec="microseconds")


@pytest.fixture(scope="module")
def without_requests(
    connection: sqlite3.Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sqlite3.Connection]:
    """Return a copy of the database whose requests are gone, unnoticed by the roll-up."""
    path = tmp_path_factory.mktemp("bounds") / "b.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        connection.backup(copy)
        for (trigger,) in copy.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            copy.execute(f"DROP TRIGGER {trigger}")
        for table in ("interceptions", "token_usages", "tool_usages"):
            copy.execute(f"DELETE FROM aibridge_{table}")
        define_functions(copy)
        yield copy


@pytest.mark.parametrize("chosen", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("read", ROLLED.values(), ids=ROLLED)
def test_complete_days_are_answered_by_the_roll_up_alone(
    connection: sqlite3.Connection,
    without_requests: sqlite3.Connection,
    read: Read,
    chosen: dict[str, tuple[str, ...]],
) -> None:
    query = TotalsQuery(since=period(30), **chosen)  # type: ignore[arg-type]
    expected = read(connection, query)
    assert read(without_requests, query) == expected
    assert chosen == FILTERS["an unknown model"] or expected != read(
        connection, TotalsQuery(since=period(-1))
    )


@pytest.mark.parametrize("name", ["by model", "by tool", "people"])
def test_all_time_reads_little_more_than_a_week(connection: sqlite3.Connection, name: str) -> None:
    read = ROLLED[name]
    whole = instructions(connection, lambda: read(connection, TotalsQuery()))
    week = instructions(connection, lambda: read(connection, TotalsQuery(since=period(7))))
    assert whole < 3 * week  # of 6 times the requests


@pytest.mark.parametrize("read", [requests.read, sessions.read], ids=["requests", "sessions"])
@pytest.mark.parametrize("chosen", [{"models": ("opus-9",)}, {"tools": ("none",)}])
def test_filter_that_matches_nothing_searches_no_requests(
    connection: sqlite3.Connection, read: Read, chosen: dict[str, tuple[str, ...]]
) -> None:
    query = RequestQuery(**chosen)  # type: ignore[arg-type]
    assert instructions(connection, lambda: read(connection, query)) < DAYS * PER_DAY / 10
