"""Partitions of the big tables by the month in which an interception began, dropped whole.

The ids of interceptions (UUIDv7) begin with their time, so that a range of ids is a month. Ids of
another form go into the default partition.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from aibridge_addon.store.connection import Connection

KEYS = {
    "aibridge_interceptions": "id",
    "aibridge_token_usages": "interception_id",
    "aibridge_tool_usages": "interception_id",
    "aibridge_model_thoughts": "interception_id",
    "aibridge_messages": "interception_id",
}
"""Column that holds the id of the interception, by table."""
_MONTHS_AHEAD = 2
_UNLESS_IMPOSSIBLE = (
    "DO $$ BEGIN {}; EXCEPTION WHEN check_violation OR insufficient_privilege THEN NULL; END $$"
)
"""The default partition goes on to take the rows of a month if the role does not own the tables, or
if rows of the month are there: those of a process whose clock was months ahead."""
_OWNS_TABLES = (
    "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class"
    " WHERE oid = to_regclass('aibridge_interceptions')"
)


def first_id(moment: datetime) -> str:
    """Return the beginning of the ids (UUIDv7) that were made at a time."""
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def create_default(table: str) -> str:
    """Return the statement that creates the partition of all other ids."""
    return f"CREATE TABLE IF NOT EXISTS {table}_default PARTITION OF {table} DEFAULT"


def create_around_now() -> Iterator[str]:
    """Yield the statements that create the partitions of this month and the next ones."""
    month = month_of(datetime.now(UTC))
    for _ in range(_MONTHS_AHEAD + 1):
        yield from create(month)
        month = next_month(month)


def ensure(connection: Connection) -> None:
    """Create the partitions of this month and the next ones, unless the last of them exists."""
    last = month_of(datetime.now(UTC))
    for _ in range(_MONTHS_AHEAD):
        last = next_month(last)
    if not exist(connection, last):
        for statement in create_around_now():
            connection.execute(statement)


def may_be_dropped(connection: Connection) -> bool:
    """Return True if the role owns the tables, or is a member of the role that does."""
    (owns,) = connection.execute(_OWNS_TABLES).fetchone()
    return bool(owns)


def exist(connection: Connection, month: datetime) -> bool:
    """Return True if the partitions of a month exist."""
    name = name_of("aibridge_messages", month)  # the last that is created
    (found,) = connection.execute("SELECT to_regclass(?) IS NOT NULL", [name]).fetchone()
    return bool(found)


def create(month: datetime) -> Iterator[str]:
    """Yield the statements that create the partitions of a month, unless they exist."""
    begin, end = first_id(month), first_id(next_month(month))
    for table in KEYS:
        yield _UNLESS_IMPOSSIBLE.format(
            f"CREATE TABLE IF NOT EXISTS {name_of(table, month)} PARTITION OF {table}"
            f" FOR VALUES FROM ('{begin}') TO ('{end}')"
        )


def name_of(table: str, month: datetime) -> str:
    """Return the name of a partition."""
    return f"{table}_{month:%Y_%m}"


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month of a time."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the beginning of the next month."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
