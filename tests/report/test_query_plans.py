"""Reports of a recent period search by an index; none reads every interception or usage."""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databases import PostgresDatabase
from report.databases import database
from store.doubles import all_of_one, started

from aibridge_addon.report.queries import RequestQuery, grouped
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.postgres.dialect import translate
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.sql.reports import latency, people, requests, sessions, totals
from aibridge_addon.store.sqlite.reports.reader import define_functions

RECENT = (datetime.now(UTC) - timedelta(days=7)).isoformat(timespec="microseconds")

type Read = Callable[[Connection, RequestQuery], object]


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


LARGE = re.compile(
    f"aibridge_((interceptions|token_usages|tool_usages)_{datetime.now(UTC):%Y_%m}|hourly)"
)
"""Tables with rows: the plan of an empty partition says nothing."""
FILL = (
    """INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider, provider_name, api,
        model, client_session_id, started_at, ended_at, status)
    SELECT (SELECT substr(min(id), 1, 24) FROM aibridge_interceptions) || lpad(n::text, 12, '0'),
        'actor-' || n % 20, '{}', 'p', 'p', 'a', 'model-' || n % 5, 's-' || n % 200, moment, moment,
        'completed'
    FROM (SELECT n, to_char(now() - n * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI') AS moment
        FROM generate_series(1, 3000) n) requests""",
    """INSERT INTO aibridge_token_usages (id, interception_id, created_at)
    SELECT id || 'u', id, started_at FROM aibridge_interceptions""",
    """INSERT INTO aibridge_tool_usages (id, interception_id, created_at, tool)
    SELECT id || 't', id, started_at, 'Bash' FROM aibridge_interceptions""",
)


class Explained(PostgresConnection):
    """A connection that keeps the plans of what it executes."""

    def __init__(self, opened: PostgresConnection) -> None:
        super().__init__(opened.raw)
        self.plans: list[Any] = []

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        self._explain(sql, parameters)
        return super().execute(sql, parameters)

    def walk(self, sql: str, parameters: Any, /) -> Iterator[Any]:
        self._explain(sql, parameters)
        return super().walk(sql, parameters)

    def _explain(self, sql: str, parameters: Any) -> None:
        if sql.startswith(("SELECT", "WITH")):
            explain = f"EXPLAIN (FORMAT JSON) {translate(sql)}"
            ((plan,),) = self.raw.execute(explain.encode(), parameters).fetchall()
            self.plans.append(plan[0]["Plan"])


def nodes(plan: Any) -> Iterator[Any]:
    """Yield a node of a plan, and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def whole_tables(plan: Any) -> list[str]:
    """Return the large tables that a plan reads whole."""
    return [
        f"{node['Node Type']} of {node['Relation Name']}"
        for node in nodes(plan)
        if LARGE.match(node.get("Relation Name", ""))
        and (node["Node Type"] == "Seq Scan" or _is_read_whole(node))
    ]


def _is_read_whole(node: Any) -> bool:
    # A bitmap scan has its condition in the node below. The choice among indexes of other tables
    # depends on the number of rows.
    is_of_child = "usages" in node["Relation Name"]
    return is_of_child and node["Node Type"] != "Bitmap Heap Scan" and "Index Cond" not in node


@pytest.fixture(scope="module")
def explained(postgres_server: str) -> Iterator[Explained]:
    """Return a connection as reports have it."""
    opened = PostgresDatabase(postgres_server)
    opened.write(*all_of_one(started()))
    with opened.connected() as connection:
        connection.execute("SET session_replication_role = replica")  # fires no triggers
        for statement in FILL:
            connection.execute(statement)
        connection.execute("ANALYZE")
    with Pool(Address(opened.location)).reading() as connection:
        yield Explained(connection)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_recent_period_is_read_by_an_index_of_postgresql(
    explained: Explained, read: Read, query: RequestQuery
) -> None:
    explained.plans.clear()
    with explained.raw.transaction():
        read(explained, query)
    assert explained.plans
    assert [each for plan in explained.plans for each in whole_tables(plan)] == []


def test_whole_table_is_found(explained: Explained) -> None:
    explained.plans.clear()
    explained.execute("SELECT count(client) FROM aibridge_interceptions")
    assert whole_tables(explained.plans[0])
