"""Ends processes that gave no sign of life, and forgets those that ended long ago."""

from datetime import datetime, timedelta

from aibridge_addon.store.connection import Connection

SILENCE_SECONDS = 60
"""Time after which a process without a sign of life has ended, whatever it did."""
_KEPT_DAYS = 7

CLOSE_ORPHANS = (
    "UPDATE aibridge_interceptions SET status = 'interrupted', partial = 1, ended_at = :now"
    " WHERE ended_at IS NULL AND process_id IN"
    " (SELECT id FROM aibridge_processes WHERE seen_at < :silent OR ended_at IS NOT NULL)"
    " AND id NOT IN (SELECT interception_id FROM aibridge_background_responses)"
)
"""Closes the interceptions of ended processes. If such a process lives after all, the real end of
an interception replaces this one."""
FORGET = "DELETE FROM aibridge_processes WHERE seen_at < :old"


def tidy(connection: Connection, now: datetime) -> None:
    """Close what ended processes left open, and forget processes that ended long ago.

    `now` is the time of the clock by which signs of life are dated.
    """
    silent, old = now - timedelta(seconds=SILENCE_SECONDS), now - timedelta(days=_KEPT_DAYS)
    connection.execute(CLOSE_ORPHANS, {"now": _text(now), "silent": _text(silent)})
    connection.execute(FORGET, {"old": _text(old)})


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
