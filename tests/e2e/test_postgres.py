"""A real mitmdump that records in PostgreSQL."""

from collections.abc import Callable

from databases import PostgresDatabase

from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from e2e.bodies import MESSAGES
from e2e.clients import WAYS, Clients
from e2e.conftest import StartProxy
from e2e.proxy import Proxy

FORWARD = WAYS[0]
PASSWORD = "s3cret"


def used_by_keeper(server: str) -> PostgresDatabase:
    """Return an empty database, and let a role with a password use the tables, which others own."""
    database = PostgresDatabase(server)
    database.execute("DROP ROLE IF EXISTS keeper")
    database.execute(f"CREATE ROLE keeper LOGIN PASSWORD '{PASSWORD}'")
    database.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO keeper"
    )
    return database


def test_request_is_in_postgresql_before_the_client_has_the_end(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], postgres_server: str
) -> None:
    database = used_by_keeper(postgres_server)
    location = database.location.replace("postgres@", f"keeper:{PASSWORD}@")
    proxy = start_proxy(options={"aibridge_db": location})
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
    assert f"in {database.location.replace('postgres@', 'keeper@')}" in proxy.log_text()
    assert PASSWORD not in proxy.log_text()
    (detail,) = database.reports.export(RequestQuery(limit=1), content=True)
    assert detail.detail.messages
