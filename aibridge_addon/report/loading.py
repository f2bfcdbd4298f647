"""Loads timelines: reads a request with its neighbours in the session from the reports."""

from collections import OrderedDict

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.rows import InterceptionDetail
from aibridge_addon.report.timeline import Timeline, timeline

_KEPT = 4
"""Details in memory: the neighbours of a request are often the next that is asked for."""


class TimelineLoader:
    """Loads timelines one after the other, in bounded memory."""

    def __init__(self, reports: Reports, for_actor: str | None = None) -> None:
        self._reports = reports
        self._for_actor = for_actor
        self._details: OrderedDict[str, InterceptionDetail | None] = OrderedDict()

    def load(self, id_or_part: str) -> Timeline | None:
        """Return the timeline of a request; None if no request, or several, match."""
        detail = self._detail(id_or_part)
        if detail is None:
            return None
        previous = self._detail(detail.previous_id)
        return timeline(detail, previous, self._detail(detail.next_id))

    def _detail(self, id_: str | None) -> InterceptionDetail | None:
        if id_ is None:
            return None
        if id_ in self._details:
            return self._details[id_]
        found = self._details[id_] = self._reports.interception(id_, self._for_actor)
        while len(self._details) > _KEPT:
            self._details.popitem(last=False)
        return found
