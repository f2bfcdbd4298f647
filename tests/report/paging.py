"""Reads a list of a report page by page."""

from collections.abc import Callable
from dataclasses import replace

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page


def all_pages[Row](
    read: Callable[[RequestQuery], Page[Row]], query: RequestQuery, limit: int
) -> list[Row]:
    """Return the rows of all pages, of at most `limit` rows each."""
    rows: list[Row] = []
    cursor = ""
    while True:
        page = read(replace(query, limit=limit, cursor=cursor))
        assert len(page.rows) <= limit
        rows += page.rows
        cursor = page.next_cursor
        if not cursor:
            return rows
