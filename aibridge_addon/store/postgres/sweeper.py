"""Housekeeping in small steps: rolls up figures, and deletes rows after their retention.

One process at a time executes a step; the others leave it out. Commits wait meanwhile, so that no
change of an hour is missed; a step takes milliseconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from aibridge_addon.store.postgres import partitions
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.postgres.expired_months import drop_one
from aibridge_addon.store.postgres.server_time import server_time
from aibridge_addon.store.postgres.triggers import COMMIT_LOCK
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql import sweeper

_HOUSEKEEPING_LOCK = 0x61_69_62_72_03
_TRY_LOCK = f"SELECT pg_try_advisory_lock({_HOUSEKEEPING_LOCK})"
_LOCK_COMMITS = f"SELECT pg_advisory_lock({COMMIT_LOCK})"
_UNLOCK = f"SELECT pg_advisory_unlock({COMMIT_LOCK}), pg_advisory_unlock({_HOUSEKEEPING_LOCK})"


class Sweeper(sweeper.Sweeper[PostgresConnection]):
    """Executes the steps on a database that several processes use."""

    def __init__(self, retention: Retention, on_deleted: Callable[[int], None]) -> None:
        super().__init__(retention, on_deleted, lambda connection: False)

    def step(self, connection: PostgresConnection) -> None:
        """Execute a step, unless another process is at it."""
        partitions.ensure(connection)
        with _alone(connection) as is_alone:
            if is_alone:
                super().step(connection)
            else:
                self.pause()

    def time(self, connection: PostgresConnection) -> datetime:
        """Return the time of the server, which dates the signs of life of all machines."""
        return server_time(connection)

    def delete(self, connection: PostgresConnection) -> bool:
        """Drop a month whose retention is over, or delete some rows of the oldest."""
        return self._drop_expired(connection) or super().delete(connection)

    def _drop_expired(self, connection: PostgresConnection) -> bool:
        days = self._retention.interceptions
        if days is None:
            return False
        deleted = drop_one(connection, datetime.now(UTC) - timedelta(days=days))
        if deleted:
            self._on_deleted(deleted)
        return deleted > 0


@contextmanager
def _alone(connection: PostgresConnection) -> Iterator[bool]:
    (is_alone,) = connection.execute(_TRY_LOCK).fetchone() or (False,)
    if not is_alone:
        yield False
        return
    connection.execute(_LOCK_COMMITS)
    yield True
    # If a step fails, its connection is closed, which releases the locks.
    connection.execute(_UNLOCK)
