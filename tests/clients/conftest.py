"""Fixtures: a proxy before the stand-in, one that offers central tools, and desks to work at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.central import ToolServer
from e2e.conftest import (  # noqa: F401 what pytest finds by name
    authority,
    confdir,
    provider,
    proxies,
    pytest_configure,
    run_proxy,
    standin,
    start_proxy,
    start_standin,
    tool_server,
)
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.tables import provider_toml
from standin import Server

from clients.places import Desk

type MakeDesk = Callable[[Proxy], Desk]


def config_of(origin: str) -> str:
    """Return a config file that puts the stand-in in the place of every provider."""
    return config_toml(origin) + "".join(
        (
            provider_toml(f"{origin}/backend-api/codex", "openai", "chatgpt.com", name="chatgpt"),
            provider_toml(origin, "gemini", "generativelanguage.googleapis.com"),
            vertex_toml(origin),
            provider_toml(origin, "code-assist", "cloudcode-pa.googleapis.com"),
            # So that the stand-in answers logins; the proxy would tunnel them.
            provider_toml(
                origin,
                "code-assist",
                "oauth2.googleapis.com",
                "www.googleapis.com",
                name="logins-of-google",
            ),
            provider_toml(origin, "copilot", "api.github.com", name="github"),
            provider_toml(
                origin, "copilot", "api.githubcopilot.com", "api.individual.githubcopilot.com"
            ),
        )
    )


def vertex_toml(origin: str) -> str:
    """Return the table of Vertex AI, with the hosts of two locations."""
    hosts = "aiplatform.googleapis.com", "us-central1-aiplatform.googleapis.com"
    return provider_toml(origin, "vertex", *hosts, price_as="google")


@pytest.fixture(scope="session")
def proxy(
    run_proxy: RunProxy,  # noqa: F811
    standin: Server,  # noqa: F811
) -> Iterator[Proxy]:
    """A proxy that only records."""
    with run_proxy(standin.origin, config=config_of(standin.origin), metrics=True) as shared:
        yield shared


@pytest.fixture(scope="session")
def central_proxy(
    run_proxy: RunProxy,  # noqa: F811
    standin: Server,  # noqa: F811
    tool_server: ToolServer,  # noqa: F811
) -> Iterator[Proxy]:
    """A proxy that offers central tools."""
    config = config_of(standin.origin)
    calc = {"calc": {"url": tool_server.url, "allow": "^add$"}}
    with run_proxy(standin.origin, config=config, servers=calc, metrics=True) as shared:
        yield shared


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[MakeDesk]:
    """Make a desk by a proxy; the proxy's log is shown where the test fails."""
    desks: list[tuple[Proxy, int]] = []

    def make(proxy: Proxy) -> Desk:
        desk = Desk(proxy, tmp_path)
        desk.work.mkdir()
        desks.append((proxy, len(proxy.log)))
        return desk

    yield make
    for used, mark in desks:
        print(f"--- log of the proxy\n{used.log_text(mark)}")
        assert not used.faults(mark)


@pytest.fixture
def desk(proxy: Proxy, make_desk: MakeDesk) -> Desk:
    """A desk by the proxy that only records."""
    return make_desk(proxy)


@pytest.fixture
def central_desk(central_proxy: Proxy, make_desk: MakeDesk) -> Desk:
    """A desk by the proxy that offers central tools."""
    return make_desk(central_proxy)
