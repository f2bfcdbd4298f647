"""A real mitmdump that records in PostgreSQL."""

from collections.abc import Callable

from databases import PostgresDatabase

from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from e2e.bodies import MESSAGES
from e2e.clients import WAYS, Clients
from e2e.conftest import StartProxy
from e2e.proxy import Proxy

FORWARD = WAYS[0]


def test_request_is_in_postgresql_before_the_client_has_the_end(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], postgres_server: str
) -> None:
    database = PostgresDatabase(postgres_server, template=None)
    proxy = start_proxy(options={"aibridge_db": database.location})
    clients = clients_of(proxy)
    with clients.http(FORWARD) as http:
        url = clients.url(FORWARD, MESSAGES.provider, MESSAGES.path)
        for stream in (True, False):
            sent = MESSAGES.request("Hello", stream=stream)
            assert http.post(url, content=sent, headers=MESSAGES.headers).status_code == 200
            (newest,) = database.reports.requests(RequestQuery(limit=1)).rows
            assert (newest.status, newest.streaming) == ("completed", stream)
            assert newest.prompt == "Hello"
            assert newest.figures.output > 0
    proxy.stop()
    assert database.reports.totals(TotalsQuery(by=("model",))).overall.completed == 2
    (detail,) = database.reports.export(RequestQuery(limit=1), content=True)
    assert detail.detail.messages
