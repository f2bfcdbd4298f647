"""Reports of a recent period search by an index; none reads every interception or usage."""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from report.databases import database

from aibridge_addon.report.queries import RequestQuery, grouped
from aibridge_addon.store.sql.reports import latency, people, requests, sessions, totals
from aibridge_addon.store.sqlite.reports.reader import define_functions

RECENT = (datetime.now(UTC) - timedelta(days=7)).isoformat(timespec="microseconds")

type Read = Callable[[sqlite3.Connection, RequestQuery], object]


def by(*names: str) -> Read:
    """Return the function that reads totals by some groupings."""
    return lambda connection, query: totals.read(connection, grouped(query, names))


READS: dict[str, Read] = {
    "by model": by("model"),
    "by day and actor": by("day", "actor"),
    "by session": by("session"),
    "by tool": by("tool"),
    "people": people.read,
    "sessions": sessions.read,
    "latency": latency.read,
    "requests": requests.read,
}
QUERIES = {
    "all": RequestQuery(since=RECENT),
    "a model": RequestQuery(since=RECENT, models=("opus",)),
    "failed ones": RequestQuery(since=RECENT, statuses=("failed",)),
    "an actor": RequestQuery(since=RECENT, for_actor="alice"),
    "a session": RequestQuery(sessions=("s-1",)),
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with database(tmp_path / "a.sqlite3") as opened:
        define_functions(opened)
        yield opened


def full_scans(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Return the scans of tables in the plan of a statement; not those of subqueries."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    subqueries = Counter(
        found[1] for step in plan if (found := re.match(r"(?:CO-ROUTINE|MATERIALIZE) (\w+)", step))
    )
    scans = Counter(found[1] for step in plan if (found := re.match(r"SCAN (\w+)", step)))
    virtual = {found[1] for step in plan if (found := re.match(r"SCAN (\w+) VIRTUAL", step))}
    tables = {"i", "t", "x", "y", "p"} - virtual
    return [name for name in tables if scans[name] > subqueries[name]]


def statements(connection: sqlite3.Connection, read: Read, query: RequestQuery) -> list[str]:
    """Return the statements that a report executes."""
    executed: list[str] = []
    connection.set_trace_callback(executed.append)
    read(connection, query)
    connection.set_trace_callback(None)
    return executed


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_recent_period_is_read_by_an_index(
    connection: sqlite3.Connection, read: Read, query: RequestQuery
) -> None:
    executed = statements(connection, read, query)
    assert executed
    for sql in executed:
        assert full_scans(connection, sql) == [], sql


def test_scan_is_found(connection: sqlite3.Connection) -> None:
    assert full_scans(connection, "SELECT client FROM aibridge_interceptions i") == ["i"]
    whole = RequestQuery(statuses=("failed",))
    executed = statements(connection, by("session"), whole)
    assert any("aibridge_interceptions" in sql for sql in executed)
