"""Export: ended requests with all that is recorded of them, in the order of commits.

Each request is read in a transaction of its own, so that memory is bounded by one request, and a
slow reader does not keep the database's log from being truncated.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import ExportRow
from aibridge_addon.store.connection import Connection, consistent
from aibridge_addon.store.sql.reports import details
from aibridge_addon.store.sql.reports.requests import chosen_requests, number_of, where

_BATCH = 500


def read(
    connected: Callable[[], AbstractContextManager[Connection]],
    query: RequestQuery,
    *,
    content: bool,
) -> Iterator[ExportRow]:
    """Yield the requests whose ends were committed after the cursor of a query."""
    after = number_of(query.cursor) if query.cursor else 0
    left = query.limit
    with connected() as connection:
        while left is None or left > 0:
            batch = _BATCH if left is None else min(left, _BATCH)
            found = _find(connection, query, after, batch)
            for seq, id_ in found:
                with consistent(connection):
                    detail = details.detail(connection, id_, content=content)
                if detail:  # else its retention has ended meanwhile
                    yield ExportRow(cursor=str(seq), detail=detail)
            if len(found) < batch:
                return
            after = found[-1][0]
            left = None if left is None else left - len(found)


def _find(
    connection: Connection, query: RequestQuery, after: int, limit: int
) -> list[tuple[int, str]]:
    chosen = chosen_requests(query)
    values: dict[str, Any] = {"after": after, "limit": limit}
    return connection.execute(
        "SELECT e.seq, i.id FROM aibridge_endings e"  # noqa: S608
        " CROSS JOIN aibridge_interceptions i ON i.id = e.interception_id"
        f" WHERE e.seq > :after AND {where(chosen)} ORDER BY e.seq LIMIT :limit",
        chosen.values | values,
    ).fetchall()
