"""Tunnels are deleted after the retention of requests."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from aibridge_addon.facts import TunnelEnded, new_id
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql.sweeper import Sweeper
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.statements import statements


def tunnel(days: int) -> TunnelEnded:
    return TunnelEnded(
        id=new_id(),
        initiator_id="alice",
        access_token_id=None,
        host=f"{days}.cursor.sh",
        service="Cursor",
        started_at=(datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds"),
        duration_ms=1,
        bytes_sent=1,
        bytes_received=1,
    )


def test_old_tunnels_are_deleted_and_newer_ones_stay() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(Database(connection))
        for statement in statements([tunnel(29), tunnel(31)]):
            connection.execute(SQL[statement.kind], statement.values)

        Sweeper(Retention(interceptions=30), lambda number: None, vacuum.free_some).step(connection)

        hosts = [host for (host,) in connection.execute("SELECT host FROM aibridge_tunnels")]
        assert hosts == ["29.cursor.sh"]
