"""Fixtures: a stand-in and a proxy for the whole session, factories for tests that break them.

A test fails if a proxy that it used logged an error, unless it is marked `may_log_errors`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from standin import Authority, Provider, Server, ServerThread, make_authority
from standin.messages import App

from e2e.central import Central, ToolServer, program
from e2e.clients import Clients, Way
from e2e.places import more_providers
from e2e.proxies import ProxyFactory, RunProxy, Servers, start_with_servers
from e2e.proxy import Proxy

QUICK_RETRIES = Path(__file__).with_name("quick_retries.py")

type StartProxy = Callable[..., Proxy]
type StartStandin = Callable[..., Server]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks of this folder."""
    config.addinivalue_line("markers", "may_log_errors: the proxy is expected to log errors")
    config.addinivalue_line(
        "markers", "both_ways: `TEST_DIRECT=false` repeats it with all bodies through the layers"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `TEST_DIRECT=false` would only repeat: HTTP/2 passes the layers anyway."""
    if os.environ.get("TEST_DIRECT") != "false":
        return
    repeated = [item for item in items if _asks_in_http2(item)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if item not in repeated]


def _asks_in_http2(item: pytest.Item) -> bool:
    way = item.callspec.params.get("way") if hasattr(item, "callspec") else None
    return isinstance(way, Way) and way.http2


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of stand-ins."""
    return make_authority(tmp_path_factory.mktemp("standin-ca"))


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mitmproxy's folder, with a CA made beforehand."""
    directory = tmp_path_factory.mktemp("confdir")
    made = make_authority(directory, "mitmproxy-ca-cert")
    shutil.copy(made.key_path, directory / "mitmproxy-ca.pem")
    return directory


@pytest.fixture(scope="session")
def provider() -> Provider:
    """The application behind the shared stand-in."""
    return Provider()


@pytest.fixture(scope="session")
def standin(provider: Provider, authority: Authority) -> Iterator[Server]:
    """The shared stand-in: TLS, HTTP/1.1 and HTTP/2."""
    with ServerThread(Server(provider, tls=authority.server_context())) as server:
        yield server


@pytest.fixture(scope="session")
def proxies(
    authority: Authority, confdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> ProxyFactory:
    """Factory of proxies that trust the stand-ins."""
    return ProxyFactory(
        confdir=confdir,
        upstream_ca=authority.path,
        new_folder=lambda: tmp_path_factory.mktemp("proxy"),
    )


@pytest.fixture(scope="session")
def run_proxy(proxies: ProxyFactory) -> RunProxy:
    """Run a proxy for as long as a block lasts, for fixtures: `ProxyFactory.run`."""
    return proxies.run


@pytest.fixture(scope="session")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """The shared proxy in front of the shared stand-in. Do not break it: see `start_proxy`."""
    more = more_providers(standin.origin)
    with run_proxy(standin.origin, more_config=more, metrics=True, fork=False) as shared:
        yield shared


@pytest.fixture(scope="session")
def tool_server() -> Iterator[ToolServer]:
    """The shared MCP server, over HTTP."""
    server = ToolServer("http")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sse_tool_server() -> Iterator[ToolServer]:
    """The shared MCP server, over SSE."""
    server = ToolServer("sse")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def central_proxy(
    run_proxy: RunProxy, standin: Server, tool_server: ToolServer, sse_tool_server: ToolServer
) -> Iterator[Proxy]:
    """The shared proxy that offers tools, of servers by every transport."""
    denied = "^(die|grow|revoke|meet|counter|odd|steps)"
    servers = {
        "calc": {"url": tool_server.url, "deny": denied},
        "local": program() | {"allow": "^echo$"},
        "old": {"url": sse_tool_server.url, "type": "sse", "allow": "^echo$"},
    }
    with run_proxy(
        standin.origin, servers=servers, metrics=True, script=QUICK_RETRIES, fork=False
    ) as shared:
        yield shared


@pytest.fixture
def central(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server
) -> Iterator[Central]:
    """Ask through the proxy of the module; all that reaches the provider must be legal."""
    made = Central(proxy, clients, provider, standin)
    yield made
    made.check()


@pytest.fixture
def clients(proxy: Proxy, standin: Server, authority: Authority) -> Clients:
    """Clients of the shared proxy."""
    return Clients(standin.origin, (authority.path, proxy.ca_path), proxy)


@pytest.fixture
def direct_clients(standin: Server, authority: Authority) -> Clients:
    """Clients of the shared stand-in, without a proxy."""
    return Clients(standin.origin, (authority.path,))


@pytest.fixture
def start_standin(authority: Authority) -> Iterator[StartStandin]:
    """Start stand-ins of a test's own: `start_standin(app=None, tls=True, http2=True)`."""
    threads: list[ServerThread] = []

    def start(app: App | None = None, *, tls: bool = True, http2: bool = True) -> Server:
        context = authority.server_context() if tls else None
        thread = ServerThread(Server(app or Provider(), tls=context, http2=http2))
        threads.append(thread)
        return thread.__enter__()

    yield start
    for thread in threads:
        thread.__exit__(None, None, None)


@pytest.fixture
def start_proxy(
    request: pytest.FixtureRequest, standin: Server, proxies: ProxyFactory
) -> Iterator[StartProxy]:
    """Start proxies for a single test, with the arguments of `ProxyFactory.run`.

    They use the shared stand-in unless another `upstream` is given. With `started=False` the test
    starts them. They are stopped at its end.
    """
    own: list[Proxy] = []

    def start(
        *,
        upstream: str | None = None,
        servers: Servers | None = None,
        wait_for: Sequence[str] | None = None,
        started: bool = True,
        **arguments: Any,
    ) -> Proxy:
        made = proxies.make(upstream or standin.origin, servers=servers, **arguments)
        own.append(made)
        if started:
            start_with_servers(made, servers, wait_for)
        return made

    yield start
    for made in own:
        if made.process is not None:
            made.stop()
        print(f"--- log of {made.directory.name}\n{made.log_text()}")
    if request.node.get_closest_marker("may_log_errors") is None:
        assert not any(made.faults() for made in own)


@pytest.fixture
def clients_of(authority: Authority, standin: Server) -> Callable[[Proxy], Clients]:
    """Return clients of a proxy of the test's own."""
    return lambda of: Clients(standin.origin, (authority.path, of.ca_path), of)


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget earlier requests; fail if the shared proxy or stand-in had an error.

    Shows the log of a failed test.
    """
    server: Server | None = None
    if "standin" in request.fixturenames:
        server = request.getfixturevalue("standin")
        server.requests.clear()
    shared: Proxy | None = None
    if "proxy" in request.fixturenames:
        shared = request.getfixturevalue("proxy")
    mark = len(shared.log) if shared else 0
    yield
    if shared:
        print(f"--- log of the shared proxy\n{shared.log_text(mark)}")
        if request.node.get_closest_marker("may_log_errors") is None:
            assert not shared.faults(mark)
    if server:
        errors = list(server.errors)
        server.errors.clear()
        assert not errors
