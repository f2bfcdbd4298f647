"""Types of options that several sub-commands have."""

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
                f"there is no folder {path.parent}; make it, or name another file", param, ctx
            )
        return str(path)


class Since(click.ParamType[datetime | None]):
    """A moment from which on something is counted."""

    name = "since"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """Return the moment, or None for all times."""
        value = value.strip()
        word = value.lower()
        if word == "all":
            return None
        if word in _DAYS:
            return _midnight(_DAYS[word])
        try:
            if span := re.fullmatch(r"(\d+)([mhdw])", value):
                return datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a span (30m, 12h, 7d, 4w), a date, 'today', 'yesterday' nor"
                " 'all'"
            )


def _midnight(days_ago: int) -> datetime:
    """Return the beginning of a day in local time."""
    day = datetime.now().date() - timedelta(days=days_ago)
    return datetime(day.year, day.month, day.day).astimezone(UTC)
