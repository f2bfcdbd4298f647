"""Last use and spend of access tokens, for `aibridge token list`."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from aibridge_addon.cli.databases import open_records
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.notes import at_least, spent
from aibridge_addon.report.numbers import count, short_count
from aibridge_addon.report.periods import short_time
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store.errors import StoreError

COLUMNS = ("last use", "requests", "tokens", "spent")

type Use = Mapping[str, Figures]
"""Figures of access tokens by their ids; tokens that were never used have none."""


def read_use(db: str | None, token_ids: Iterable[str]) -> Use | None:
    """Return the use of access tokens; None if the records cannot be read."""
    try:
        query = TotalsQuery(by=("token",), tokens=tuple(token_ids))
        totals = open_records(db).reports().totals(query)
    except (StoreError, UnsupportedReportError):
        return None
    return {row.names[0]: row.figures for row in totals.rows if row.names[0]}


def cells(use: Use | None, token_id: str) -> tuple[str, ...]:
    """Return the texts of `COLUMNS` for an access token."""
    if use is None:
        return (UNKNOWN,) * len(COLUMNS)
    figures = use.get(token_id)
    if figures is None:
        return "never", "0", "0", usd(0)
    tokens = at_least(figures, short_count(figures.known(figures.total_input + figures.output)))
    return _local(figures.latest), count(figures.requests), tokens, spent(figures, usd(0))


def as_json(use: Use | None, token_id: str) -> dict[str, str | int | None]:
    """Return the use of an access token for JSON; what is unknown is null."""
    if use is None:
        return dict.fromkeys(("last_use", "requests", "tokens", "cost_nano_usd", "unpriced"))
    figures = use.get(token_id, Figures())
    return {
        "last_use": figures.latest or None,
        "requests": figures.requests,
        "tokens": figures.known(figures.total_input + figures.output),
        "incomplete": figures.incomplete,
        "cost_nano_usd": figures.cost_nano_usd if figures.requests else 0,
        "list_price_nano_usd": figures.list_price_nano_usd,
        "unpriced": figures.unpriced,
    }


def _local(time: str) -> str:
    return short_time(datetime.fromisoformat(time).astimezone(), datetime.now())
