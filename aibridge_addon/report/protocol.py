"""`Reports`: everything that commands and the web page ask of the records."""

from collections.abc import Iterator
from typing import NoReturn, Protocol

from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import (
    ExportRow,
    InterceptionDetail,
    Latency,
    Live,
    Page,
    PersonRow,
    PricedModelRow,
    RateLimitRow,
    RequestRow,
    SearchHit,
    SessionDetail,
    SessionRow,
    Totals,
    TunnelRow,
)


class UnsupportedReportError(Exception):
    """The store cannot answer this query."""


class Reports(Protocol):
    """Reports on the records of a store. All methods may block, and change nothing.

    A store implements the reports that it can answer; all others raise `UnsupportedReportError`.
    Every method honours `RequestQuery.for_actor`. Memory is bounded by the rows that are returned.
    """

    def totals(self, query: TotalsQuery) -> Totals:
        """Return figures by groups, and overall."""
        _unsupported("totals")

    def sessions(self, query: RequestQuery) -> Page[SessionRow]:
        """Return sessions, those with the newest requests first."""
        _unsupported("sessions")

    def people(self, query: RequestQuery) -> list[PersonRow]:
        """Return the actors, the most expensive first."""
        _unsupported("people")

    def latency(self, query: RequestQuery) -> Latency:
        """Return percentiles of latency."""
        _unsupported("latency")

    def requests(self, query: RequestQuery) -> Page[RequestRow]:
        """Return requests, newest first."""
        _unsupported("requests")

    def ended_since(self, cursor: str | None, query: RequestQuery) -> Live:
        """Return requests whose ends were committed since a cursor: none is missed or repeated.

        Without a cursor, return only the cursor of now. The query filters; its cursor is ignored.
        """
        _unsupported("ended_since")

    def interception(
        self, id_or_prefix: str, for_actor: str | None = None
    ) -> InterceptionDetail | None:
        """Return everything recorded of a request; None if no id, or several, begin so."""
        _unsupported("interception")

    def session(self, id_or_prefix: str, for_actor: str | None = None) -> SessionDetail | None:
        """Return a session; None if no id, or several, begin so."""
        _unsupported("session")

    def search(self, text: str, query: RequestQuery) -> Page[SearchHit]:
        """Return recorded texts that contain the words of a text, newest first.

        Raises:
            search_text.SearchTextError: the text cannot be searched for.
        """
        _unsupported("search")

    def export(self, query: RequestQuery, *, content: bool = False) -> Iterator[ExportRow]:
        """Yield ended requests with all that is recorded of them, in the order of commits.

        The cursor of a query is an `ExportRow.cursor`. `messages` are empty without `content`.
        """
        _unsupported("export")

    def priced_models(self, since: str) -> list[PricedModelRow]:
        """Return the models that were called since a time, with the prices that were found."""
        _unsupported("priced_models")

    def processes(self) -> list[ProcessRow]:
        """Return the proxy processes that reported last, oldest first."""
        _unsupported("processes")

    def rate_limits(self) -> list[RateLimitRow]:
        """Return the rate limits as the providers last reported them."""
        _unsupported("rate_limits")

    def tunnels(self, query: RequestQuery, *, by_actor: bool = False) -> list[TunnelRow]:
        """Return the tunnels to AI services that are not read by host, the largest first.

        Of the query's filters, the period and the actors apply.
        """
        _unsupported("tunnels")


def _unsupported(report: str) -> NoReturn:
    raise UnsupportedReportError(f"this store cannot report {report.replace('_', ' ')}")
