"""Parameter types of several subcommands."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}


class DatabaseLocation(click.Path):
    """A database: the path of a file in an existing folder, or `scheme://…`."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the location; paths become absolute."""
        if "://" in str(value):
            return str(value)
        given = super().convert(value, param, ctx)  # type: ignore[arg-type]
        path = Path(str(given)).expanduser().absolute()
        if not path.parent.is_dir():
            self.fail(
                f"there is no folder {path.parent}; create it, or name another file", param, ctx
            )
        return str(path)


class Since(click.ParamType[datetime | None]):
    """The start of a period."""

    name = "since"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """Return the start of the period; None for `all`."""
        value = value.strip()
        word = value.lower()
        if word == "all":
            return None
        if word in _DAYS:
            return _midnight(_DAYS[word])
        try:
            span = parse_span(value)
            return datetime.now(UTC) - span if span is not None else parse_date(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a span (30m, 12h, 7d, 4w), a date, 'today', 'yesterday' or 'all'"
            )


class Expiry(click.ParamType[str | None]):
    """The time when something expires."""

    name = "expiry"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | None:
        """Return the time as it is stored; None for `never`."""
        if value == "never":
            return None
        try:
            span = parse_span(value)
            time = datetime.now(UTC) + span if span is not None else parse_date(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a span (12h, 90d, 4w), a date or 'never'")
        if time <= datetime.now(UTC):
            self.fail(f"{value} is in the past")
        return time.isoformat(timespec="microseconds")


def parse_span(value: str) -> timedelta | None:
    """Return the duration of a span such as `12h`; None if the value is not a span.

    Raises:
        OverflowError: it is too long.
    """
    span = re.fullmatch(r"(\d+)([mhdw])", value)
    return timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else None


def parse_date(value: str) -> datetime:
    """Return the time of a date, with or without a time of day; local time unless stated.

    Raises:
        ValueError: it is not a date.
    """
    return datetime.fromisoformat(value).astimezone(UTC)


def _midnight(days_ago: int) -> datetime:
    """Return the start of a day in local time."""
    day = datetime.now().date() - timedelta(days=days_ago)
    return datetime(day.year, day.month, day.day).astimezone(UTC)
