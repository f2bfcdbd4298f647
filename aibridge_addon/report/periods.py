"""Periods: words such as `today`, `7d` or a date, read in local time, to instants in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open interval of instants; None: without bound."""

    since: datetime | None = None
    until: datetime | None = None

    def text(self) -> str:
        """Return the period in local time: `2026-01-05 00:00 to now (CET, UTC+01:00)`."""
        begin = _minute(self.since) if self.since else "all records"
        end = _minute(self.until) if self.until else "now"
        start = f"{begin} to {end}" if self.since or self.until else begin
        return f"{start} ({zone_name(self.since or datetime.now(UTC))})"


def zone_name(moment: datetime) -> str:
    """Return the local time zone at a moment: `CET, UTC+01:00`."""
    local = moment.astimezone()
    offset = f"UTC{local:%:z}"
    name = local.tzname() or ""
    if name == "UTC":
        return name
    return offset if not name or name[0] in "+-" else f"{name}, {offset}"


def parse_since(value: str, now: datetime) -> datetime | None:
    """Return the start of a period; None for `all`.

    Raises:
        ValueError: the text is neither a span, a date nor a known word.
        OverflowError: the time is out of range.
    """
    word = value.strip().lower()
    if word == "all":
        return None
    if (day := _day(word, now)) is not None:
        return midnight(day)
    return _instant(value.strip(), now)


def parse_until(value: str, now: datetime) -> datetime | None:
    """Return the end of a period, which includes the whole of a day; None for `now` and `all`.

    Raises:
        ValueError: the text is neither a span, a date nor a known word.
        OverflowError: the time is out of range.
    """
    word = value.strip().lower()
    if word in ("all", "now"):
        return None
    if (day := _day(word, now)) is not None:
        return midnight(day + timedelta(days=1))
    return _instant(value.strip(), now)


def parse_span(value: str) -> timedelta | None:
    """Return the duration of a span such as `12h`; None if the value is not a span.

    Raises:
        OverflowError: it is too long.
    """
    span = re.fullmatch(r"(\d+)([mhdw])", value, re.ASCII)
    return timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else None


def parse_date(value: str) -> datetime:
    """Return the time of a date, with or without a time of day; local time unless stated.

    Raises:
        ValueError: it is not a date.
    """
    return datetime.fromisoformat(value).astimezone(UTC)


def midnight(day: date) -> datetime:
    """Return the start of a day in local time, as an instant in UTC."""
    return datetime(day.year, day.month, day.day).astimezone(UTC)


def instant_text(moment: datetime | None) -> str:
    """Return an instant as the records hold it; empty for None."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else ""


def normal_text(moment: str) -> str:
    """Return an ISO 8601 text as the records hold it; empty stays empty.

    Raises:
        ValueError: it is not a time.
    """
    return instant_text(datetime.fromisoformat(moment)) if moment else ""


def short_time(moment: datetime, now: datetime) -> str:
    """Return a local time to the minute; the year is left out if it is the current year."""
    return f"{moment:%m-%d %H:%M}" if moment.year == now.year else f"{moment:%Y-%m-%d %H:%M}"


def _day(word: str, now: datetime) -> date | None:
    if word in _DAYS:
        return now.astimezone().date() - timedelta(days=_DAYS[word])
    return date.fromisoformat(word) if re.fullmatch(r"\d{4}-\d\d-\d\d", word, re.ASCII) else None


def _instant(value: str, now: datetime) -> datetime:
    span = parse_span(value)
    return now.astimezone(UTC) - span if span is not None else parse_date(value)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
