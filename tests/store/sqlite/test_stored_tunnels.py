"""Tunnels to AI services in the store: totals by host, actors, periods, and retention."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from aibridge_addon.facts import TunnelEnded, new_id
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.reports.reports import SQLiteReports
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.sqlite.sweeper import Sweeper
from aibridge_addon.store.statements import statements


def tunnel(**changes: Any) -> TunnelEnded:
    values: dict[str, Any] = {
        "id": new_id(),
        "initiator_id": "alice",
        "access_token_id": None,
        "host": "api2.cursor.sh",
        "service": "Cursor",
        "started_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "duration_ms": 1000,
        "bytes_sent": 10,
        "bytes_received": 100,
    }
    return TunnelEnded(**values | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.sqlite3"
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds")
    tunnels = [
        tunnel(),
        tunnel(initiator_id="bob", bytes_received=5),
        tunnel(host="claude.ai", service="Claude (web)", bytes_received=9000),
        tunnel(started_at=old),
    ]
    with closing(sqlite3.connect(found, isolation_level=None)) as connection:
        migrate(Database(connection))
        for statement in [*statements(tunnels), *statements(tunnels)]:  # as from a spool
            connection.execute(SQL[statement.kind], statement.values)
    return found


def test_tunnels_are_summed_by_host_the_largest_first(path: Path) -> None:
    since = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    rows = SQLiteReports(path).tunnels(RequestQuery(since=since))

    assert [(row.host, row.service, row.tunnels, row.actors) for row in rows] == [
        ("claude.ai", "Claude (web)", 1, 1),
        ("api2.cursor.sh", "Cursor", 2, 2),
    ]
    assert (rows[1].bytes_sent, rows[1].bytes_received, rows[1].duration_ms) == (20, 105, 2000)


def test_tunnels_are_summed_by_host_and_actor(path: Path) -> None:
    rows = SQLiteReports(path).tunnels(RequestQuery(actors=("b*",)), by_actor=True)

    assert [(row.host, row.actor, row.tunnels) for row in rows] == [("api2.cursor.sh", "bob", 1)]


def test_owner_of_an_access_token_sees_only_own_tunnels(path: Path) -> None:
    rows = SQLiteReports(path).tunnels(RequestQuery(for_actor="bob"))

    assert [(row.host, row.tunnels, row.bytes_received) for row in rows] == [
        ("api2.cursor.sh", 1, 5)
    ]


def test_tunnels_are_deleted_after_the_retention_of_requests(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        Sweeper(Retention(interceptions=30), lambda number: None, vacuum.free_some).step(connection)

    assert sum(row.tunnels for row in SQLiteReports(path).tunnels(RequestQuery())) == 3
