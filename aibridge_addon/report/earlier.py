"""Tells whether an actor was recorded before. Pure."""

from collections.abc import Callable

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery


def earlier_requests(reports: Callable[[], Reports]) -> Callable[[str, str], bool]:
    """Return a function that looks for a request of an actor before a time; it may block."""

    def has_earlier(actor: str, before: str) -> bool:
        query = RequestQuery(for_actor=actor, until=before, limit=1)
        return bool(reports().requests(query).rows)

    return has_earlier
