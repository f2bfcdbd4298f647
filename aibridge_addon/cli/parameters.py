"""Parameter types of several subcommands."""

from datetime import UTC, datetime
from pathlib import Path

import click

from aibridge_addon.report.periods import parse_date, parse_since, parse_span, parse_until

_EXAMPLES = "a span (30m, 12h, 7d, 4w), a date, 'today', 'yesterday' or 'all'"


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
        from aibridge_addon.store.errors import StoreError
        from aibridge_addon.store.registry import check_location

        try:
            check_location(str(value))
        except StoreError as error:
            self.fail(str(error), param, ctx)
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
        try:
            return parse_since(value, datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not {_EXAMPLES}")


class Until(click.ParamType[datetime | None]):
    """The end of a period."""

    name = "until"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """Return the end of the period, after the whole of a day; None for `now`."""
        try:
            return parse_until(value, datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not {_EXAMPLES}")


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
