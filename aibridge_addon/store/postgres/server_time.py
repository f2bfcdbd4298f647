"""Time of the server, which dates the signs of life of processes on all machines."""

from datetime import UTC, datetime

from aibridge_addon.store.connection import Connection


def server_time(connection: Connection) -> datetime:
    """Return the time of the server now."""
    (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    assert isinstance(moment, datetime)
    return moment.astimezone(UTC)
