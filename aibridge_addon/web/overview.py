"""The overview: figures of a period, a chart, and tables of people, models, clients and tools."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.budgets.accounts import Account
from aibridge_addon.budgets.words import amount
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.protocol import Reports, UnsupportedReportError
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import GroupRow, Latency, Totals, TunnelRow
from aibridge_addon.report.sums import total
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.chart import MEASURES, Chart, default_measure, make_chart
from aibridge_addon.web.filters import PERIODS, Filters, read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request

_MOST_ROWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    key: str
    title: str
    rows: tuple[GroupRow, ...]
    more: int
    """Groups that are left out."""
    largest: int
    """Largest money of a row, for the bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overview:
    totals: Totals
    """By day and model, or by hour and model."""
    latency: Latency
    tables: tuple[_Table, ...]
    budgets: tuple[Account, ...]
    """The most used first."""
    unread: tuple[TunnelRow, ...]
    """AI traffic outside of what is recorded, the largest first."""


async def overview(request: Request) -> Response:
    """Show the overview."""
    site, viewer = site_of(request), viewer_of_request(request)
    filters = read_filters(request.query_params, site.now())
    found = await run_in_threadpool(_read, site, viewer, filters)
    overall = found.totals.overall
    chosen = request.query_params.get("chart", "")
    measure = chosen if chosen in MEASURES else default_measure(overall)
    values = {
        "filters": filters,
        "periods": PERIODS,
        "figures": overall,
        "latency": found.latency,
        "tables": found.tables,
        "budgets": found.budgets[:_MOST_ROWS],
        "more_budgets": len(found.budgets[_MOST_ROWS:]),
        "amount": amount,
        "unread": found.unread[:_MOST_ROWS],
        "more_unread": len(found.unread[_MOST_ROWS:]),
        "chart": _chart(found.totals, measure),
        "measures": MEASURES,
        "measure": measure,
        "weight": weight,
    }
    return site.render(request, "overview.html", values)


def weight(row: GroupRow) -> int:
    """Return the figure that a row's bar shows."""
    figures = row.figures
    money = figures.cost_nano_usd or figures.list_price_nano_usd
    return money or 0


def _read(site: Site, viewer: Viewer, filters: Filters) -> _Overview:
    arguments = filters.arguments(viewer, site.now())
    unit = "hour" if filters.period in ("today", "yesterday") else "day"
    reports = site.reports
    totals = reports.totals(TotalsQuery(**arguments, by=(unit, "model")))
    people = reports.totals(TotalsQuery(**arguments, by=("actor", "client"))).rows
    tools = reports.totals(TotalsQuery(**arguments, by=("tool",), limit=_MOST_ROWS))
    called = [row for row in tools.rows if row.names[0]]
    tables = (
        _table("actor", "People", _regrouped(people, 0)),
        _table("model", "Models", _regrouped(totals.rows, 1)),
        _table("client", "Clients", _regrouped(people, 1)),
        _table("tool", "Tools", called, tools.more),
    )
    return _Overview(
        totals=totals,
        latency=reports.latency(RequestQuery(**arguments)),
        tables=tables,
        budgets=tuple(_by_use(site.read_budgets(None if viewer.sees_all else viewer.name))),
        unread=tuple(_unread(reports, RequestQuery(**arguments))),
    )


def _unread(reports: Reports, query: RequestQuery) -> list[TunnelRow]:
    try:
        return reports.tunnels(query)
    except UnsupportedReportError:  # of a store from a plugin
        return []


def _by_use(accounts: Iterable[Account]) -> list[Account]:
    return sorted(accounts, key=lambda account: account.share, reverse=True)


def _regrouped(rows: Iterable[GroupRow], index: int) -> list[GroupRow]:
    """Sum up rows by one of their two names, the most expensive first."""
    groups: dict[str | None, list[Figures]] = {}
    for row in rows:
        groups.setdefault(row.names[index], []).append(row.figures)
    found = [GroupRow(names=(name,), figures=total(each)) for name, each in groups.items()]
    return sorted(found, key=lambda row: (-weight(row), -row.figures.requests))


def _table(key: str, title: str, rows: Sequence[GroupRow], more: int = 0) -> _Table:
    shown = tuple(rows[:_MOST_ROWS])
    return _Table(
        key=key,
        title=title,
        rows=shown,
        more=more + len(rows) - len(shown),
        largest=max(map(weight, shown), default=0),
    )


def _chart(totals: Totals, measure: str) -> Chart | None:
    return make_chart(totals.rows, MEASURES[measure])
