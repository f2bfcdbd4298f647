"""The overview: figures of a period, a chart, and tables of people, models, clients and tools."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import GroupRow, Latency, Totals
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.chart import MEASURES, Chart, default_measure, make_chart
from aibridge_addon.web.filters import PERIODS, Filters, read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request

_MOST_ROWS = 12
_TABLES = {"actor": "People", "model": "Models", "client": "Clients", "tool": "Tools"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    key: str
    title: str
    totals: Totals
    largest: int
    """Largest cost (or number of tokens, if nothing is priced) of a row, for the bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overview:
    totals: Totals
    """By day and model, or by hour and model."""
    latency: Latency
    tables: tuple[_Table, ...]


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
    return _Overview(
        totals=reports.totals(TotalsQuery(**arguments, by=(unit, "model"))),
        latency=reports.latency(RequestQuery(**arguments)),
        tables=tuple(_table(reports, arguments, key) for key in _TABLES),
    )


def _table(reports: Reports, arguments: dict[str, object], key: str) -> _Table:
    query = TotalsQuery(**arguments, by=(key,), limit=_MOST_ROWS)  # type: ignore[arg-type]
    totals = reports.totals(query)
    return _Table(
        key=key,
        title=_TABLES[key],
        totals=totals,
        largest=max(map(weight, totals.rows), default=0),
    )


def _chart(totals: Totals, measure: str) -> Chart | None:
    return make_chart(totals.rows, MEASURES[measure])
