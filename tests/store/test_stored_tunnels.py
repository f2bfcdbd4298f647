"""Tunnels to AI services in each store: totals by host, actors and periods."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import Database

from aibridge_addon.facts import TunnelEnded, new_id
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")


def tunnel(**changes: Any) -> TunnelEnded:
    values: dict[str, Any] = {
        "id": new_id(),
        "initiator_id": "alice",
        "access_token_id": None,
        "host": "api2.cursor.sh",
        "service": "Cursor",
        "started_at": days_ago(0),
        "duration_ms": 1000,
        "bytes_sent": 10,
        "bytes_received": 100,
    }
    return TunnelEnded(**values | changes)


@pytest.fixture
def reports(database: Database) -> Reports:
    tunnels = [
        tunnel(),
        tunnel(initiator_id="bob", bytes_received=5),
        tunnel(host="claude.ai", service="Claude (web)", bytes_received=9000),
        tunnel(started_at=days_ago(40)),
    ]
    database.write(*tunnels)
    database.write(*tunnels)  # as from a spool that is read twice
    return database.reports


def test_tunnels_are_summed_by_host_the_largest_first(reports: Reports) -> None:
    rows = reports.tunnels(RequestQuery(since=days_ago(7)))

    assert [(row.host, row.service, row.tunnels, row.actors) for row in rows] == [
        ("claude.ai", "Claude (web)", 1, 1),
        ("api2.cursor.sh", "Cursor", 2, 2),
    ]
    assert (rows[1].bytes_sent, rows[1].bytes_received, rows[1].duration_ms) == (20, 105, 2000)
    assert rows[1].actor is None


def test_tunnels_are_summed_by_host_and_actor(reports: Reports) -> None:
    rows = reports.tunnels(RequestQuery(actors=("b*",)), by_actor=True)

    assert [(row.host, row.actor, row.tunnels) for row in rows] == [("api2.cursor.sh", "bob", 1)]


def test_owner_of_an_access_token_sees_only_own_tunnels(reports: Reports) -> None:
    rows = reports.tunnels(RequestQuery(for_actor="bob", until=days_ago(-1)))

    assert [(row.host, row.tunnels, row.bytes_received) for row in rows] == [
        ("api2.cursor.sh", 1, 5)
    ]
