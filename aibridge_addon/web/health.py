"""The state of the proxy and of the record, gaps in the figures, and rate limits of providers."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.report.limits import CredentialLimits, limits_by_credential
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.filters import read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request

_MOST_MODELS = 50


async def health(request: Request) -> Response:
    """Show the state of the proxy to those who see everything; gaps of the record to everybody."""
    site, viewer = site_of(request), viewer_of_request(request)
    filters = read_filters(request.query_params, site.now())
    arguments = filters.arguments(viewer, site.now())
    findings = await run_in_threadpool(site.inspect) if viewer.sees_all else ()
    query = TotalsQuery(**arguments, by=("model", "provider"), limit=_MOST_MODELS)
    totals = await run_in_threadpool(site.reports.totals, query)
    limits = await run_in_threadpool(_limits, site, viewer)
    gaps = [row for row in totals.rows if row.figures.unpriced or row.figures.without_usage]
    values = {"filters": filters, "findings": findings, "gaps": gaps, "limits": limits}
    values["now"] = site.now()
    return site.render(request, "health.html", values)


def _limits(site: Site, viewer: Viewer) -> list[CredentialLimits]:
    """Return the rate limits as providers stated them last to those whom the viewer may see."""
    try:
        rows = site.reports.rate_limits()
    except UnsupportedReportError:
        return []
    return limits_by_credential(row for row in rows if viewer.may_see(row.actor))
