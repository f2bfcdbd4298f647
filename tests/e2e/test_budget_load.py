"""Hundreds of clients against a small budget: one process, and three of which one is killed."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import pytest
from databases import ENGINES, Database, PostgresDatabase, SQLiteFile
from standin import Provider, Server

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.facts import new_id
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.budgets import LEASE, SQLBudgets
from e2e.bodies import CHAT, MESSAGES, RESPONSES
from e2e.clients import WAYS, Clients
from e2e.conftest import StartProxy
from e2e.metrics import wait_for_health
from e2e.proxy import Proxy, config_toml

REVERSE = WAYS[2]
CLIENTS = 200
LIMIT = 3 * 10**9
LARGEST = 2 * 10**8
"""More than a request can cost: about 60 tokens of input and 100 of output, at 0.1 cents."""
BUDGETS = """
[[prices]]
match = "*"
input = 1_000
output = 1_000
cache_read = 1_000

[[budgets]]
name = "small"
per = "total"
usd = 3
timezone = "UTC"
credentials = ["byok"]
wait_s = 60

[[limits]]
name = "slots"
per = "total"
open_requests = 500

[[limits]]
name = "shared"
actors = ["sharer"]
per = "total"
requests_per_minute = 3
"""
TOGETHER = """
[[limits]]
name = "together"
actors = ["group"]
per = "total"
requests_per_minute = 2
shared = true
"""
BUDGET = Budget(
    name="small",
    per="total",
    unit="usd",
    limit=LIMIT,
    window=WindowRule(name="day", zone=ZoneInfo("UTC")),
)


async def ask(http: httpx2.AsyncClient, clients: Clients, number: int, text: str) -> int | None:
    """Return the status of a request; None if its proxy has died."""
    api = (MESSAGES, CHAT, RESPONSES)[number % 3]
    member = "max_output_tokens" if api is RESPONSES else "max_tokens"
    content = api.request(text, stream=number % 2 == 0, **{member: 100})
    headers = {**api.headers, "X-AIBridge-Actor": f"actor-{number % 40}"}
    url = clients.url(REVERSE, api.provider, api.path)
    try:
        return (await http.post(url, content=content, headers=headers)).status_code
    except httpx2.TransportError:
        return None


@contextmanager
def database(connected: AbstractContextManager[Connection]) -> Iterator[Callable[[str], int]]:
    """Settle what is left when all leases are lost, and read figures."""
    with connected as connection:
        later = datetime.now(UTC) + LEASE + timedelta(seconds=1)
        SQLBudgets("later", lambda: later).sweep(connection)
        yield lambda query: int(connection.execute(query).fetchone()[0] or 0)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        call = BudgetedCall(
            interception_id=new_id(),
            scopes=((BUDGET, "total"),),
            estimate=lambda unit: Estimate(worst=LIMIT, likely=LIMIT, input=0),
        )
        refusal = SQLBudgets("tomorrow", lambda: tomorrow).admit(connection, call)
        assert refusal is None, "the whole budget is open again"


def check_ledger(value: Callable[[str], int]) -> None:
    """Assert that the counters are the charges, which are the recorded costs and estimates."""
    entries = "FROM aibridge_budget_entries"
    told = value(f"SELECT sum(charge) {entries} WHERE how IN ('told', 'none')")
    estimated = value(f"SELECT sum(charge) {entries} WHERE how = 'estimated'")
    assert value("SELECT sum(spent) FROM aibridge_budget_counters") == told + estimated
    recorded = (
        "FROM aibridge_token_usages u JOIN aibridge_interceptions i ON i.id = interception_id"
    )
    assert told == value(f"SELECT sum(cost_nano_usd) {recorded} WHERE status = 'completed'")
    spent = value("SELECT max(spent) FROM aibridge_budget_counters")
    assert spent <= LIMIT + LARGEST, "at most the last call exceeds it"
    assert value("SELECT count(*) FROM aibridge_budget_holds") == 0


def test_many_clients_use_up_a_small_budget_and_no_more(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(config=config_toml(standin.origin) + BUDGETS)
    clients = clients_of(proxy)

    async def run() -> list[int | None]:
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with clients.async_http(REVERSE, limits=limits) as http:
            http.timeout = httpx2.Timeout(100)
            asking = (ask(http, clients, n, f"{n} TOKENS:20,100,0,0") for n in range(CLIENTS))
            return await asyncio.gather(*asking)

    statuses = Counter(asyncio.run(run()))
    assert statuses.keys() == {200, 400}, "nobody waits in vain: room that is held becomes free"
    with database(closing(sqlite3.connect(proxy.database, isolation_level=None))) as value:
        check_ledger(value)
        assert value("SELECT max(spent) FROM aibridge_budget_counters") > LIMIT - LARGEST
        charged = value("SELECT count(*) FROM aibridge_budget_entries WHERE how = 'told'")
        assert charged == statuses[200]


def statuses_of(clients: Clients, actor: str, number: int) -> list[tuple[int, str]]:
    """Return the statuses and texts of the responses to requests of an actor."""
    headers = {**CHAT.headers, "X-AIBridge-Actor": actor}
    url = clients.url(REVERSE, CHAT.provider, CHAT.path)
    body = CHAT.request("hi", stream=False)
    with clients.http(REVERSE) as http:
        answers = [http.post(url, content=body, headers=headers) for _ in range(number)]
    return [(answer.status_code, answer.text) for answer in answers]


def check_shares(clients: Sequence[Clients]) -> None:
    """Assert that three processes together admit what a limit allows."""
    for each in clients:
        (admitted, _), (refused, text) = statuses_of(each, "sharer", 2)
        assert (admitted, refused) == (200, 429)
        assert "1 in this one of 3 processes" in text


def check_shared_limit(clients: Sequence[Clients]) -> None:
    """Assert that one process may admit all that a shared limit allows; the others admit none."""
    found = [answer for each in clients for answer in statuses_of(each, "group", 3)]
    assert [status for status, _ in found] == [200] * 2 + [429] * 7
    assert "limit 'together' allows 2 requests per minute." in found[-1][1]


@pytest.fixture(params=ENGINES)
def shared_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Return an empty database that several processes share."""
    if request.param == "sqlite":
        return SQLiteFile(tmp_path)
    return PostgresDatabase(request.getfixturevalue("postgres_server"))


def test_three_processes_share_limits_and_a_budget_that_survives_the_death_of_one(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    shared_database: Database,
) -> None:
    options = {"aibridge_db": shared_database.location}
    # The dead process holds room until its lease is lost, for which nobody waits here.
    config = config_toml(standin.origin) + BUDGETS.replace("wait_s = 60", "wait_s = 1")
    state: dict[str, object] = {"processes": 3}
    if isinstance(shared_database, PostgresDatabase):
        config += TOGETHER
        state |= {"divided": 2, "shared": 1, "together": True}
    proxies = [start_proxy(config=config, options=options, metrics=True) for _ in range(3)]
    clients = [clients_of(proxy) for proxy in proxies]
    for proxy in proxies:
        wait_for_health(proxy, lambda health: health[1]["limits"] == state)
    check_shares(clients)
    if "shared" in state:
        check_shared_limit(clients)
    standin.requests.clear()

    async def run() -> Sequence[int | None]:
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with clients[0].async_http(REVERSE, limits=limits) as http:
            http.timeout = httpx2.Timeout(100)
            held = [
                asyncio.create_task(ask(http, clients[0], 6 * n, f"{n} GATE:killed"))
                for n in range(6)
            ]
            while len(standin.requests) < len(held):
                await asyncio.sleep(0.01)
            rest = [
                asyncio.create_task(ask(http, clients[n % 3], n, f"{n} TOKENS:20,100,0,0"))
                for n in range(CLIENTS - len(held))
            ]
            await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(proxies[0].kill)
            return await asyncio.gather(*held, *rest)

    try:
        statuses = Counter(asyncio.run(run()))
    finally:
        provider.gate("killed").release()
    assert statuses[None] >= 6
    # 503: on a busy machine, the database was locked for longer than a process waits.
    assert statuses.keys() <= {200, 400, 429, 503, None}
    with database(shared_database.connected()) as value:
        check_ledger(value)
        assert value("SELECT count(*) FROM aibridge_budget_entries WHERE how = 'estimated'") >= 6
