"""Lists of requests: pages from the newest, and requests that end while somebody looks on."""

from typing import Any

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Live, Page, RequestRow
from aibridge_addon.store.connection import ALL, Connection
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sql.reports import candidates, request_rows, spans
from aibridge_addon.store.sql.reports.selection import Selection, of_interceptions
from aibridge_addon.store.sql.reports.spans import Span

_SEPARATOR = "~"
_NEWEST = "SELECT coalesce(max(seq), 0) FROM aibridge_endings"
MOST_LIVE = 500
"""Most requests that one call of `ended_since` looks at."""


def read(connection: Connection, query: RequestQuery) -> Page[RequestRow]:
    """Return a page of requests, newest first."""
    limit = ALL if query.limit is None else query.limit + 1
    before = split_cursor(query.cursor)[0] if query.cursor else ""
    found: list[tuple[str, str]] = []
    for span in candidates.newest_first(connection, query, before):
        found += _read_span(connection, query, span, limit - len(found))
        if len(found) >= limit:
            break
    shown = found if query.limit is None else found[: query.limit]
    return Page(
        rows=tuple(request_rows.load(connection, (id_ for id_, _ in shown))),
        next_cursor=make_cursor(*shown[-1][::-1]) if shown and len(shown) < len(found) else "",
    )


def _read_span(
    connection: Connection, query: RequestQuery, span: Span, limit: int
) -> list[tuple[str, str]]:
    """Return the ids and starts of the newest requests of a span."""
    chosen = of_interceptions(query)
    spans.add(chosen, span, hidden=bool(query.sessions))
    if query.cursor:
        started_at, id_ = split_cursor(query.cursor)
        chosen.add(f"(i.started_at, i.id) < ({chosen.bind(started_at)}, {chosen.bind(id_)})")
    return connection.execute(
        f"SELECT i.id, i.started_at FROM aibridge_interceptions i WHERE {where(chosen)}"  # noqa: S608
        " ORDER BY i.started_at DESC, i.id DESC LIMIT :limit",
        chosen.values | {"limit": limit},
    ).fetchall()


def chosen_requests(query: RequestQuery) -> Selection:
    """Return the conditions of a query's filters and period."""
    chosen = of_interceptions(query)
    if query.since:
        chosen.add(f"i.started_at >= {chosen.bind(query.since)}")
    if query.until:
        chosen.add(f"i.started_at < {chosen.bind(query.until)}")
    return chosen


def where(chosen: Selection) -> str:
    """Return all conditions as one."""
    return " AND ".join(chosen.conditions) or "TRUE"


def ended_since(connection: Connection, cursor: str | None, query: RequestQuery) -> Live:
    """Return the requests whose ends were committed since a cursor, oldest end first."""
    (newest,) = connection.execute(_NEWEST).fetchone()
    if cursor is None:
        return Live(cursor=str(newest))
    after = number_of(cursor)
    if after > newest:  # the cursor is of another file, in whose place this one is now
        after = 0
    last = min(newest, after + MOST_LIVE)
    chosen = chosen_requests(query)
    values: dict[str, Any] = {"after": after, "last": last}
    ids = connection.execute(
        "SELECT i.id FROM aibridge_endings e"  # noqa: S608
        " CROSS JOIN aibridge_interceptions i ON i.id = e.interception_id"
        f" WHERE e.seq > :after AND e.seq <= :last AND {where(chosen)} ORDER BY e.seq",
        chosen.values | values,
    )
    rows = tuple(request_rows.load(connection, [id_ for (id_,) in ids]))
    return Live(rows=rows, cursor=str(last))


def number_of(cursor: str) -> int:
    """Return the number of an end that a cursor holds.

    Raises:
        StoreError: it is not such a cursor.
    """
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise StoreError(f"{cursor[:100]!r} is not a cursor of ended requests")
    return int(cursor)


def make_cursor(*keys: str) -> str:
    """Return the cursor that continues after a row with some keys."""
    return _SEPARATOR.join(keys)


def split_cursor(cursor: str) -> tuple[str, str]:
    """Return the two keys of a cursor.

    Raises:
        StoreError: it is not such a cursor.
    """
    first, separator, second = cursor.partition(_SEPARATOR)
    if not separator:
        raise StoreError(f"{cursor[:100]!r} is not a cursor of this list")
    return first, second
