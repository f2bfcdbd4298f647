"""Copies a SQLite database into PostgreSQL, while proxies may go on writing to both.

Each run copies a snapshot. Rows of the large tables are copied in the order in which they were
written, and the last one is remembered, so that a run that was stopped, or a later run, continues
there. Requests that had not ended are read again. At the end, the rows and sums of both are
compared, and rows that are missing or differ are copied again: the file may have been repriced or
rebuilt since.

Left out is what only holds for processes of the source (holds and leases of budgets), and what the
target makes by itself (roll-ups, ends, counters of budgets).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from typing import Any

from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres import partitions
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.postgres.schema import key_of
from aibridge_addon.store.sqlite.description import tables
from aibridge_addon.store.sqlite.snapshot import snapshot
from aibridge_addon.store.tables import Table

BATCH = 500
"""Rows of a transaction."""
_IN_ORDER = (
    *("aibridge_interceptions", "aibridge_token_usages", "aibridge_user_prompts"),
    *("aibridge_tool_usages", "aibridge_model_thoughts", "aibridge_parts"),
    *("aibridge_search_texts", "aibridge_budget_entries", "aibridge_tunnels"),
)
"""Large tables, whose rows have numbers in the order of their writing."""
_WHOLE = (
    *("aibridge_messages", "aibridge_hidden_turns", "aibridge_tokens"),
    *("aibridge_background_responses", "aibridge_rate_limits", "aibridge_budget_resets"),
    "aibridge_budget_warnings",
)
"""Tables that each run copies from the beginning."""
_ARCHIVED = ("aibridge_hourly", "aibridge_hourly_tools")
"""Roll-ups: only their figures of deleted requests are copied; the target makes the others."""
_CHANGING = ("aibridge_interceptions", "aibridge_token_usages", "aibridge_user_prompts")
"""Tables whose rows change until a request has ended."""
_SUMS = {
    "aibridge_token_usages": ("input_tokens", "output_tokens", "cost_nano_usd"),
    "aibridge_budget_entries": ("charge",),
    "aibridge_tunnels": ("bytes_sent", "bytes_received"),
}
"""Columns whose sums are compared, by table."""
_CURSORS = (
    "CREATE TABLE IF NOT EXISTS aibridge_copies"
    " (source text, name text, last bigint NOT NULL, PRIMARY KEY (source, name))"
)
_COPY_LOCK = 0x61_69_62_72_04
_TRY_LOCK = f"SELECT pg_try_advisory_lock({_COPY_LOCK})"
_UNLOCK = f"SELECT pg_advisory_unlock({_COPY_LOCK})"
_KEEP_NEWER = " WHERE excluded.seen_at > aibridge_rate_limits.seen_at"
_KEEP_REVOKED = "revoked_at = coalesce(aibridge_tokens.revoked_at, excluded.revoked_at)"
"""An access token that was revoked in the target stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A table that was copied and compared."""

    table: str
    rows: int
    """Rows of the source."""
    written: int
    """Rows that this run has written."""


class MissingRowsError(StoreError):
    """The target lacks rows of the source, or has others in their place."""


def copy_file(
    path: Path,
    target: PostgresConnection,
    on_copied: Callable[[Copied], None] = lambda copied: None,
) -> None:
    """Copy a SQLite database; call `on_copied` after each table.

    Raises:
        StoreError: the file is not a database of this addon, or another copy runs.
        MissingRowsError: the comparison at the end failed.
    """
    with snapshot(path) as source, _alone(target):
        for copied in _Copy(source, target, str(path)).run():
            on_copied(copied)


@contextmanager
def _alone(target: PostgresConnection) -> Iterator[None]:
    (is_alone,) = target.execute(_TRY_LOCK).fetchone() or (False,)
    if not is_alone:
        raise StoreError("another copy into this database is running; wait until it has ended")
    try:
        yield
    finally:
        if not target.raw.broken:
            target.execute(_UNLOCK)


class _Copy:
    def __init__(self, source: Connection, target: PostgresConnection, name: str) -> None:
        self._source = source
        self._target = target
        self._name = name
        self._tables = {table.name: table for table in tables()}

    def run(self) -> Iterator[Copied]:
        """Copy all tables, and compare them."""
        self._target.execute(_CURSORS)
        self._make_partitions()
        self._copy_changed()
        for name in (*_WHOLE, *_IN_ORDER, *_ARCHIVED):
            table = self._tables[name]
            written = self._copy(table)
            rows, again = self._compare(table)
            yield Copied(table=name, rows=rows, written=written + again)

    def _make_partitions(self) -> None:
        """Create the partitions first: rows in the default partition would be in their way."""
        (first,) = self._source.execute(
            "SELECT min(started_at) FROM aibridge_interceptions"
        ).fetchone()
        month = partitions.month_of(datetime.fromisoformat(first) if first else datetime.now(UTC))
        while month <= datetime.now(UTC):
            if not partitions.exist(self._target, month):
                for statement in partitions.create(month):
                    self._target.execute(statement)
            month = partitions.next_month(month)

    def _copy_changed(self) -> None:
        """Copy again what an earlier run copied before its request had ended."""
        rows = self._target.execute("SELECT id FROM aibridge_interceptions WHERE ended_at IS NULL")
        for ids in batched([id_ for (id_,) in rows], BATCH, strict=False):
            with transaction(self._target):
                for name in _CHANGING:
                    column = "id" if name == "aibridge_interceptions" else "interception_id"
                    where = f"{column} IN ({', '.join('?' * len(ids))})"
                    self._write(self._tables[name], self._read(self._tables[name], where, ids))

    def _copy(self, table: Table) -> int:
        """Copy the rows that are not copied yet; return their number."""
        if table.name in _IN_ORDER:
            return self._copy_in_order(table)
        where = "archived = 1" if table.name in _ARCHIVED else "TRUE"
        written = 0
        for rows in batched(self._read(table, where, ()), BATCH, strict=False):
            with transaction(self._target):
                self._write(table, rows)
            written += len(rows)
        return written

    def _copy_in_order(self, table: Table) -> int:
        written, last = 0, self._last(table)
        query = f"SELECT rowid, {_names(table)} FROM {table.name} WHERE rowid > ? ORDER BY rowid"  # noqa: S608
        for rows in batched(self._source.execute(query, [last]), BATCH, strict=False):
            with transaction(self._target):
                self._write(table, [row[1:] for row in rows])
                self._remember(table, rows[-1][0])
            written += len(rows)
        return written

    def _last(self, table: Table) -> int:
        row = self._target.execute(
            "SELECT last FROM aibridge_copies WHERE source = ? AND name = ?",
            [self._name, table.name],
        ).fetchone()
        return int(row[0]) if row else 0

    def _remember(self, table: Table, last: int) -> None:
        self._target.execute(
            "INSERT INTO aibridge_copies (source, name, last) VALUES (?, ?, ?)"
            " ON CONFLICT (source, name) DO UPDATE SET last = excluded.last",
            [self._name, table.name, last],
        )

    def _read(self, table: Table, where: str, values: Sequence[Any]) -> Iterator[Any]:
        query = f"SELECT {_names(table)} FROM {table.name} WHERE {where}"  # noqa: S608
        return iter(self._source.execute(query, values))

    def _write(self, table: Table, rows: Any) -> None:
        self._target.executemany(_upsert(table), rows)

    def _compare(self, table: Table) -> tuple[int, int]:
        """Return the number of rows of the source, and how many of them were copied again.

        Raises:
            MissingRowsError: the target has not all of them.
        """
        if table.key not in (("id",), ("digest",)) or any(
            c.is_number_of_row for c in table.columns
        ):
            return self._compare_number(table), 0
        (key,), sums = table.key, _SUMS.get(table.name, ())
        query = f"SELECT {', '.join((key, *sums))} FROM {table.name}"  # noqa: S608
        total = again = 0
        for rows in batched(self._source.execute(query), 10 * BATCH, strict=False):
            keys = [row[0] for row in rows]
            expected = [len(rows), *(_sum(row[n] for row in rows) for n in range(1, len(sums) + 1))]
            if (found := self._figures(table, key, sums, keys)) != expected:
                again += self._copy_again(table, key, keys)
                found = self._figures(table, key, sums, keys)
            if found != expected:
                raise MissingRowsError(
                    f"{table.name}: of {expected[0]} rows, the copy has {found[0]}, or other sums"
                    f" of {', '.join(sums) or 'nothing'}; run the command again"
                )
            total += len(rows)
        return total, again

    def _copy_again(self, table: Table, key: str, keys: Sequence[Any]) -> int:
        for some in batched(keys, BATCH, strict=False):
            rows = self._read(table, f"{key} IN ({', '.join('?' * len(some))})", some)
            with transaction(self._target):
                self._write(table, rows)
        return len(keys)

    def _figures(
        self, table: Table, key: str, sums: Sequence[str], keys: Sequence[str]
    ) -> list[int | None]:
        columns = ", ".join(("count(*)", *(f"sum({name})" for name in sums)))
        query = f"SELECT {columns} FROM {table.name} WHERE {key} = ANY(%s)"  # noqa: S608
        row = self._target.raw.execute(query.encode(), [list(keys)]).fetchone()
        assert row
        return list(row)

    def _compare_number(self, table: Table) -> int:
        where = " WHERE archived = 1" if table.name in _ARCHIVED else ""
        query = f"SELECT count(*) FROM {table.name}{where}"  # noqa: S608
        (expected,) = self._source.execute(query).fetchone()
        (found,) = self._target.execute(query).fetchone() or (0,)
        if found < expected:
            raise MissingRowsError(
                f"{table.name}: of {expected} rows, the copy has {found}; run the command again"
            )
        return int(expected)


def _copied_columns(table: Table) -> list[str]:
    """Return the columns but those that the target numbers itself."""
    return [column.name for column in table.columns if not column.is_number_of_row]


def _names(table: Table) -> str:
    return ", ".join(_copied_columns(table))


def _upsert(table: Table) -> str:
    names = _copied_columns(table)
    places = ", ".join("?" * len(names))
    insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places}) ON CONFLICT"  # noqa: S608
    if any(column.is_number_of_row for column in table.columns):
        return f"{insert} DO NOTHING"
    key = key_of(table)
    others = [f"{name} = excluded.{name}" for name in names if name not in key]
    if table.name == "aibridge_tokens":
        others = [_KEEP_REVOKED]
    changes = f"DO UPDATE SET {', '.join(others)}" if others else "DO NOTHING"
    condition = _KEEP_NEWER if table.name == "aibridge_rate_limits" else ""
    return f"{insert} ({', '.join(key)}) {changes}{condition}"


def _sum(values: Iterator[int | None]) -> int | None:
    """Return the sum as SQL has it: null without values."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
