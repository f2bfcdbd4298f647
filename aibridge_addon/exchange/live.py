"""The requests that are under way: their heads, and their exchanges by flow id."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy import http
from mitmproxy.connection import ConnectionState

from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.head import Head


class LiveRequests:
    """Finds the head or the exchange of a flow."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}
        """By flow id, from the complete request to the end."""
        self._heads: WeakKeyDictionary[http.HTTPFlow, Head] = WeakKeyDictionary()
        """Heads of requests that are not complete."""
        self._aborted: WeakSet[http.HTTPFlow] = WeakSet()
        """Flows whose client disconnected, perhaps before there was an exchange."""
        self.is_closed = False
        """True once the proxy shuts down, and nothing more is recorded."""

    def __len__(self) -> int:
        """Return the number of exchanges whose end would be a loss for their clients."""
        return sum(exchange.is_open for exchange in self._exchanges.values())

    def exchanges(self) -> Iterable[Exchange]:
        """Return all exchanges."""
        return list(self._exchanges.values())

    def find(self, flow_id: str) -> Exchange | None:
        """Return the exchange of a flow, if it has one."""
        return self._exchanges.get(flow_id)

    def find_open(self, flow_id: str) -> Exchange | None:
        """Return the exchange of a flow, if it has one and the proxy does not shut down."""
        return None if self.is_closed else self._exchanges.get(flow_id)

    def put(self, exchange: Exchange) -> None:
        """Make an exchange known, in place of an earlier one of its flow."""
        exchange.client_aborted = exchange.flow in self._aborted
        self._exchanges[exchange.flow.id] = exchange

    def pop(self, flow_id: str) -> Exchange | None:
        """Return the exchange of a flow, if it has one, and forget it."""
        return self._exchanges.pop(flow_id, None)

    @asynccontextmanager
    async def registered(self, exchange: Exchange) -> AsyncIterator[None]:
        """Make an inner call known while it runs."""
        self.put(exchange)
        try:
            yield
        finally:
            self.pop(exchange.flow.id)

    def abort(self, flow: http.HTTPFlow) -> None:
        """Note that a client disconnected."""
        self._aborted.add(flow)
        if exchange := self.find(flow.id):
            exchange.abort()

    def has_left(self, flow: http.HTTPFlow) -> bool:
        """Return True if the client of a flow disconnected, or gave up its HTTP/2 stream."""
        return flow in self._aborted or not flow.client_conn.state & ConnectionState.CAN_READ

    def put_head(self, flow: http.HTTPFlow, head: Head) -> None:
        """Keep a head until its request is complete."""
        self._heads[flow] = head

    def head(self, flow: http.HTTPFlow) -> Head | None:
        """Return the head of a request that is not complete."""
        return self._heads.get(flow)

    def pop_head(self, flow: http.HTTPFlow) -> Head | None:
        """Return the head of a request, and forget it."""
        return self._heads.pop(flow, None)
