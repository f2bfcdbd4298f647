"""`SharedReports`: the reports in SQL that every engine runs."""

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

from aibridge_addon.report.protocol import Reports
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
    SessionDetail,
    SessionRow,
    Totals,
    TunnelRow,
)
from aibridge_addon.store.connection import Connection, consistent
from aibridge_addon.store.sql.reports import (
    details,
    export,
    latency,
    people,
    requests,
    sessions,
    totals,
)
from aibridge_addon.store.sql.reports.priced_models import read_priced_models
from aibridge_addon.store.sql.reports.rate_limits import read_rate_limits
from aibridge_addon.store.sql.reports.tunnels import read_tunnels


class SharedReports(Reports):
    """Uses a connection for each query, so that a proxy may write meanwhile."""

    @abstractmethod
    def _connected(self) -> AbstractContextManager[Connection]:
        """Return a connection for several read transactions.

        Raises:
            StoreError: there is no database, or it cannot be read.
        """

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._connected() as connection, consistent(connection):
            yield connection

    def totals(self, query: TotalsQuery) -> Totals:
        """Return figures by groups, and overall."""
        with self._reading() as connection:
            return totals.read(connection, query)

    def sessions(self, query: RequestQuery) -> Page[SessionRow]:
        """Return sessions, those with the newest requests first."""
        with self._reading() as connection:
            return sessions.read(connection, query)

    def people(self, query: RequestQuery) -> list[PersonRow]:
        """Return the actors, the most expensive first."""
        with self._reading() as connection:
            return people.read(connection, query)

    def latency(self, query: RequestQuery) -> Latency:
        """Return percentiles of latency."""
        with self._reading() as connection:
            return latency.read(connection, query)

    def requests(self, query: RequestQuery) -> Page[RequestRow]:
        """Return a page of requests, newest first."""
        with self._reading() as connection:
            return requests.read(connection, query)

    def ended_since(self, cursor: str | None, query: RequestQuery) -> Live:
        """Return the requests whose ends were committed since a cursor."""
        with self._reading() as connection:
            return requests.ended_since(connection, cursor, query)

    def interception(
        self, id_or_prefix: str, for_actor: str | None = None
    ) -> InterceptionDetail | None:
        """Return everything recorded of a request, by its id or a part that only it has."""
        with self._reading() as connection:
            return details.interception(connection, id_or_prefix, for_actor)

    def session(self, id_or_prefix: str, for_actor: str | None = None) -> SessionDetail | None:
        """Return a session, by its id or the beginning of one."""
        with self._reading() as connection:
            return details.session(connection, id_or_prefix, for_actor)

    def export(self, query: RequestQuery, *, content: bool = False) -> Iterator[ExportRow]:
        """Yield ended requests in the order of commits."""
        return export.read(self._connected, query, content=content)

    def priced_models(self, since: str) -> list[PricedModelRow]:
        """Return the models that were called since a time, with the prices that were found."""
        with self._reading() as connection:
            return read_priced_models(connection, since)

    def tunnels(self, query: RequestQuery, *, by_actor: bool = False) -> list[TunnelRow]:
        """Return the tunnels to AI services that are not read, by host."""
        with self._reading() as connection:
            return read_tunnels(connection, query, by_actor=by_actor)

    def rate_limits(self) -> list[RateLimitRow]:
        """Return the rate limits as the providers last reported them."""
        with self._reading() as connection:
            return read_rate_limits(connection)
