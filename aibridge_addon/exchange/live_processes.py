"""`LiveProcesses`: finds the processes that are alive by the signs of life in the store. Pure."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from aibridge_addon.access.limits.share import Share
from aibridge_addon.report.processes import ProcessRow

LEASE_SECONDS = 60.0
"""Time for which a process counts as alive after its last sign of life."""


class LiveProcesses:
    """The processes that were read last, with the time at which a new sign of each was read.

    The leases run on this process's monotonic clock, so neither clocks of other machines nor a
    step of the wall clock end them. Only signs that are read for the first time are compared with
    the clock that dates them: those of processes that ended before this one started.
    """

    def __init__(
        self,
        own_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own_id = own_id
        self._clock = clock
        self._signs: dict[str, tuple[str, float]] = {}

    def see(self, rows: Iterable[ProcessRow]) -> Share:
        """Note the rows of the store, and return this process's share."""
        self._signs = dict(self._each_sign(rows))
        oldest = self._clock() - LEASE_SECONDS
        live = {id_ for id_, (_, at) in self._signs.items() if at > oldest} | {self._own_id}
        return Share(processes=len(live), rank=sorted(live).index(self._own_id))

    def _each_sign(self, rows: Iterable[ProcessRow]) -> Iterator[tuple[str, tuple[str, float]]]:
        for row in rows:
            if row.ended_at is None:
                known = self._signs.get(row.id)
                is_old = known is not None and known[0] == row.seen_at
                yield row.id, known if known and is_old else (row.seen_at, self._first_at(row))

    def _first_at(self, row: ProcessRow) -> float:
        """Return the time of a sign that is read for the first time, on the monotonic clock."""
        if row.id in self._signs:
            return self._clock()
        return self._clock() - max(row.silence, timedelta()).total_seconds()
