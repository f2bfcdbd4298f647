"""Fixtures: a shared home with a running proxy, and homes of a single test."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.conftest import authority, provider, standin, start_standin  # noqa: F401 fixtures
from standin import Authority, Server

from aibridge_addon.cli.authority import make_authority
from cli.command import Home

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that others have renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    import aibridge_addon.cli.serving  # noqa: F401 the command imports it when it is run

type MakeHome = Callable[[], Home]


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of mitmproxy with a CA."""
    folder = tmp_path_factory.mktemp("confdir")
    make_authority(folder, name="of the tests", days=100)
    return folder


@pytest.fixture(scope="session")
def shared(
    standin: Server,  # noqa: F811
    authority: Authority,  # noqa: F811
    confdir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Home]:
    """Home with a running proxy in front of the shared stand-in."""
    home = Home(
        tmp_path_factory.mktemp("home"),
        origin=standin.origin,
        confdir=confdir,
        upstream_ca=authority.path,
    )
    process = home.start_proxy(fork=False)
    yield home
    assert process.stop() == 0, process.text
    for started in home.processes:
        started.kill()


@pytest.fixture
def home(
    standin: Server,  # noqa: F811
    authority: Authority,  # noqa: F811
    confdir: Path,
    tmp_path: Path,
) -> Iterator[Home]:
    """Home of one test without a proxy; processes that the test starts end with it."""
    path = tmp_path / "home"
    path.mkdir()
    made = Home(path, origin=standin.origin, confdir=confdir, upstream_ca=authority.path)
    yield made
    for process in made.processes:
        process.kill()
        print(f"--- {process.pid}\n{process.text}")
