"""Options that select requests, shared by the commands that show records."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem

from aibridge_addon.cli.parameters import DatabaseLocation, Since, Until
from aibridge_addon.facts import RequestKind, Status
from aibridge_addon.report.periods import instant_text
from aibridge_addon.report.queries import RequestQuery

KINDS: tuple[str, ...] = get_args(RequestKind.__value__)
STATUSES = (*(status.value for status in Status), "open")

_NAMES = {
    "actor": ("actors", "Only these actors."),
    "team": ("teams", "Only actors of these teams."),
    "model": ("models", "Only these requested models."),
    "client": ("clients", "Only these client programs."),
    "provider": ("providers", "Only these provider instances."),
    "session": ("sessions", "Only these sessions: ids or their beginnings."),
    "tool": ("tools", "Only requests that called these tools."),
    "token": ("tokens", "Only these access tokens, by id."),
}
"""Options with names or patterns: the field of `RequestQuery`, and the help text."""


class Names(click.ParamType[tuple[str, ...]]):
    """Names that are separated by commas; also a single name."""

    name = "names"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names."""
        if isinstance(value, tuple):
            return value
        return tuple(name.strip() for name in str(value).split(",") if name.strip())


class _Choices(Names):
    """Names of a list."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._choices = choices

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names; fail if one is not in the list."""
        names = super().convert(value, param, ctx)
        for name in names:
            if name not in self._choices:
                self.fail(f"{name!r} is not one of {', '.join(self._choices)}", param, ctx)
        return names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with what was typed."""
        chosen = (name for name in self._choices if name.startswith(incomplete))
        return [CompletionItem(name) for name in chosen]


def db_option[F: Callable[..., Any]](function: F) -> F:
    """Add the option that names a database."""
    return click.option(
        "--db",
        type=DatabaseLocation(),
        metavar="FILE",
        help="Database to read. Default: the one of the running proxy, or the default database.",
    )(function)


def period_options[F: Callable[..., Any]](default: str) -> Callable[[F], F]:
    """Add the options of a period, which starts at `default` if none is given."""

    def add(function: F) -> F:
        until = click.option(
            "--until",
            type=Until(),
            default="now",
            metavar="SPAN|DATE|today|yesterday|now",
            help="End of the period, likewise; a date includes its day. Default: now.",
        )
        since = click.option(
            "--since",
            type=Since(),
            default=default,
            metavar="SPAN|DATE|today|yesterday|all",
            help="Start of the period: a span such as 30m, 12h, 7d or 4w; a date such as"
            " 2026-01-31; 'today' or 'yesterday' (local time); or 'all'."
            f" Default: {default}.",
        )
        return since(until(function))

    return add


def filter_options[F: Callable[..., Any]](function: F) -> F:
    """Add an option for each filter. Names may be patterns, such as 'claude-*'."""
    options = [
        click.option(
            f"--{name}",
            field,
            type=Names(),
            multiple=True,
            metavar="NAMES",
            help=f"{text} Separated by commas; may be patterns.",
        )
        for name, (field, text) in _NAMES.items()
    ]
    for name, field, choices in (("kind", "kinds", KINDS), ("status", "statuses", STATUSES)):
        options.append(
            click.option(
                f"--{name}",
                field,
                type=_Choices(choices),
                multiple=True,
                metavar="NAMES",
                help=f"Only these: {', '.join(choices)}.",
            )
        )
    for option in reversed(options):
        function = option(function)
    return function


def request_query(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    cursor: str = "",
    **filters: tuple[tuple[str, ...], ...],
) -> RequestQuery:
    """Return the query of the options' values."""
    names = {field: tuple(n for names in given for n in names) for field, given in filters.items()}
    return RequestQuery(
        since=instant_text(since),
        until=instant_text(until),
        limit=limit,
        cursor=cursor,
        **names,  # type: ignore[arg-type]  # the options' fields
    )
