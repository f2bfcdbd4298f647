"""Fixtures: shared servers, servers of a single test, and connections that end with their test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
import pytest_asyncio

from aibridge_addon.tools.server_config import ServerConfig
from aibridge_addon.tools.servers import ToolServers
from tools.running import BOUND, LISTING, Heard, Program, Report, Scripted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def eager() -> None:
    """Start tasks eagerly, as mitmproxy does."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)


@pytest.fixture(scope="session", autouse=True)
def _forks() -> None:
    """Start what forks servers before a test looks at the processes that it starts."""
    forked.command(forked.MCP_SERVER)


@pytest.fixture(scope="session")
def programs() -> Iterator[dict[str, Program]]:
    """Shared servers, by transport; tests must not break them."""
    running = {
        "http": Program("http", "--page", "3"),
        "http-legacy": Program("http", "--legacy", "--page", "5"),
        "http-json": Program("http", "--json"),
        "sse": Program("sse"),
        "sse-legacy": Program("sse", "--legacy"),
    }
    for program in running.values():
        program.wait()
    yield running
    for program in running.values():
        program.kill()


@pytest.fixture
def start_program() -> Iterator[Callable[..., Program]]:
    """Start servers for a single test."""
    started: list[Program] = []

    def start(*arguments: str, port: int = 0) -> Program:
        program = Program(*arguments, port=port)
        started.append(program)
        program.wait()
        return program

    yield start
    for program in started:
        program.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def connect(eager: None) -> AsyncIterator[Callable[..., Any]]:
    """Connect to servers for a single test: `servers, heard = await connect(config, …)`."""
    stopped: list[ToolServers] = []

    async def connect(
        *configs: ServerConfig, wait: bool = True, **more: Any
    ) -> tuple[ToolServers, Heard]:
        heard = Heard()
        servers = ToolServers(configs, on_event=heard, **more)
        stopped.append(servers)
        servers.start()
        if wait:
            assert await servers.ready(BOUND)
        return servers, heard

    yield connect
    for servers in stopped:
        await servers.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def report(tmp_path: Path) -> AsyncIterator[Report]:
    """The reports of the tool `slow`."""
    report = Report(tmp_path / "report")
    await report.open()
    yield report
    report.close()


@pytest_asyncio.fixture(loop_scope="module")
async def scripted() -> AsyncIterator[Callable[..., Any]]:
    """Start a server that responds to calls with a given result or given bytes; return its URL."""
    started: list[Scripted] = []

    async def start(answer: Any = b"", listing: Any = LISTING) -> str:
        started.append(Scripted(answer, listing=listing))
        return await started[-1].start()

    yield start
    for server in started:
        await server.stop()
