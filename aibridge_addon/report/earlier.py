"""Tells whether an actor was recorded before. Pure."""

from collections.abc import Callable

from aibridge_addon.facts import Status
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery

_SENT = tuple(status.value for status in Status if status is not Status.REFUSED)


def earlier_requests(reports: Callable[[], Reports]) -> Callable[[str, str], bool]:
    """Return a function that looks for a request of an actor before a time; it may block.

    Refused requests do not count.
    """

    def has_earlier(actor: str, before: str) -> bool:
        query = RequestQuery(for_actor=actor, until=before, statuses=_SENT, limit=1)
        return bool(reports().requests(query).rows)

    return has_earlier
