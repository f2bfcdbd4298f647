"""Windows of budgets: half-open spans of time, computed from instants and a time zone. Pure.

A calendar window is `[start, end)` in local time: a day has 23, 24 or 25 hours. A rolling window
ends now; it is counted in steps of a sixtieth of its length. No job resets a window: the first
request in it opens it.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

type WindowName = Literal["hour", "5h", "day", "week", "month", "total"]

_LENGTHS = {
    "hour": timedelta(hours=1),
    "5h": timedelta(hours=5),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_STEPS = 60
"""Steps of a rolling window."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The counters that belong to a budget at a moment."""

    bucket: str
    """The counter of a call that is admitted now: its start, UTC."""
    first_bucket: str
    """The oldest counter whose charges still count."""
    ends_at: datetime | None
    """The end of a calendar window; None if it has no end, or rolls."""
    expires_after: timedelta | None = None
    """Time after the start of a counter at which it counts no more; None unless it rolls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRule:
    """Division of time into the windows of a budget."""

    name: WindowName
    zone: ZoneInfo
    is_rolling: bool = False
    starts_at: time = time()
    """Local time at which days, weeks and months start."""

    def at(self, moment: datetime) -> Window:
        """Return the window that contains an instant."""
        if self.starts_at.second or self.starts_at.microsecond:
            return self.compute(moment)
        # Windows begin and end with a minute.
        return _window_in_minute(self, int(moment.timestamp()) // 60)

    def compute(self, moment: datetime) -> Window:
        """Return the window that contains an instant, from the calendar instead of the cache."""
        if self.name == TOTAL:
            return Window(bucket="", first_bucket="", ends_at=None)
        if self.is_rolling:
            return self._rolling(moment)
        start, end = self._calendar(moment)
        return Window(bucket=as_text(start), first_bucket=as_text(start), ends_at=end)

    def _rolling(self, moment: datetime) -> Window:
        length = _LENGTHS[self.name]
        step = length / _STEPS
        number = (moment - _EPOCH) // step
        return Window(
            bucket=as_text(_EPOCH + number * step),
            # A counter leaves the window only when all of its step has.
            first_bucket=as_text(_EPOCH + (number - _STEPS) * step),
            ends_at=None,
            expires_after=length + step,
        )

    def _calendar(self, moment: datetime) -> tuple[datetime, datetime]:
        if self.name in ("hour", "5h"):
            length = _LENGTHS[self.name]
            start = _EPOCH + (moment - _EPOCH) // length * length
            return start, start + length
        day = self._day_of(moment)
        return self._instant(self._first_day(day)), self._instant(self._next_first_day(day))

    def _day_of(self, moment: datetime) -> date:
        """Return the day that an instant belongs to; before `starts_at` it is the day before."""
        day = moment.astimezone(self.zone).date()
        return day if moment >= self._instant(day) else day - timedelta(days=1)

    def _first_day(self, day: date) -> date:
        match self.name:
            case "week":
                return day - timedelta(days=day.weekday())
            case "month":
                return day.replace(day=1)
            case _:
                return day

    def _next_first_day(self, day: date) -> date:
        match self.name:
            case "week":
                return self._first_day(day) + timedelta(days=7)
            case "month":
                return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            case _:
                return day + timedelta(days=1)

    def _instant(self, day: date) -> datetime:
        return datetime.combine(day, self.starts_at, self.zone).astimezone(UTC)


@lru_cache(maxsize=256)
def _window_in_minute(rule: WindowRule, minute: int) -> Window:
    return rule.compute(datetime.fromtimestamp(minute * 60, UTC))


def as_text(moment: datetime) -> str:
    """Return an instant as it is stored: UTC, ISO 8601, so that texts sort by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
