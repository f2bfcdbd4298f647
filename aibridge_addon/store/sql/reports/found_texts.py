"""A page of the texts that a full-text search has found."""

from collections.abc import Sequence

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, SearchHit
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports import request_rows

type Found = tuple[int, str, str, str]
"""Number of the text, id of its request, its kind, and a snippet."""


def to_page(
    connection: Connection, found: Sequence[Found], query: RequestQuery, note: str = ""
) -> Page[SearchHit]:
    """Return a page; `found` has one text more than the limit if another page follows."""
    shown = found if query.limit is None else found[: query.limit]
    rows = request_rows.load(connection, dict.fromkeys(id_ for _, id_, _, _ in shown))
    requests = {row.id: row for row in rows}
    return Page(
        rows=tuple(
            SearchHit(request=requests[id_], source=kind, snippet=snippet)
            for _, id_, kind, snippet in shown
        ),
        next_cursor=str(shown[-1][0]) if shown and len(shown) < len(found) else "",
        note=note,
    )
