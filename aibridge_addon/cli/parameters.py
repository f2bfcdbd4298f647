"""Types of options that several sub-commands have."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}


class DatabasePath(click.Path):
    """The path of a database, which may still have to be made, in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the path."""
        path = super().convert(value, param, ctx)  # type: ignore[arg-type]
        assert isinstance(path, Path)
        folder = path.expanduser().absolute().parent
        if not folder.is_dir():
            self.fail(f"there is no folder {folder}; make it, or name another file", param, ctx)
        return path


class Since(click.ParamType[datetime | None]):
    """A moment from which on something is counted."""

    name = "since"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """Return the moment, or None for all times."""
        if value == "all":
            return None
        if value in _DAYS:
            return _midnight(_DAYS[value])
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
