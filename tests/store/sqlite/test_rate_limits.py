"""Rate limits as seen last are deleted once they say nothing."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database
from store.doubles import limits, started

from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql.sweeper import RATE_LIMIT_DAYS, Sweeper
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.statements import statements


def test_old_rate_limits_are_deleted_without_a_retention() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(Database(connection))
        for statement in statements([limits(started(), retry_after="1", x_ratelimit_limit="2")]):
            connection.execute(SQL[statement.kind], statement.values)
        old = datetime.now(UTC) - timedelta(days=RATE_LIMIT_DAYS, minutes=1)
        connection.execute(
            "UPDATE aibridge_rate_limits SET seen_at = ? WHERE header = 'retry-after'",
            [old.isoformat(timespec="microseconds")],
        )

        Sweeper(Retention(), lambda number: None, vacuum.free_some).step(connection)

        headers = [row[0] for row in connection.execute("SELECT header FROM aibridge_rate_limits")]
        assert headers == ["x-ratelimit-limit"]
