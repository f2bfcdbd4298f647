"""Bounds Hypothesis, isolates the data folder, and marks tests that start a proxy as `e2e`.

Set `HYPOTHESIS_EXAMPLES` to search further.
"""

import gc
import os
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from pathlib import Path

import databases
import postgres_server as postgres_server_module
import pytest
from effort import WHILE_WORKING, WHOLE_SUITE
from hypothesis import HealthCheck, settings

for name, examples in {"bounded": WHOLE_SUITE, "while_working": WHILE_WORKING}.items():
    settings.register_profile(
        name,
        max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", examples)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("bounded")

PROCESSES = frozenset(
    {"postgres_server", "authority", "home", "proxy", "shared", "standin", "start_proxy"}
)
"""Fixtures that start a proxy, a stand-in provider or a database server, or serve tests that do."""

END_TO_END = Path(__file__).with_name("e2e")


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replace the user's data folder, which commands and proxies write into."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a PostgreSQL server that all workers share."""
    if postgres_server_module.folder_of_programs() is None:
        pytest.skip("PostgreSQL is not installed: see scripts/postgres")
    folder = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    with postgres_server_module.shared(
        folder.parent if is_worker else folder, os.getppid() if is_worker else os.getpid()
    ) as url:
        yield url


@pytest.fixture(params=databases.ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> databases.Database:
    """Return an empty database of each engine: a test that uses it runs on both."""
    if request.param == "sqlite":
        return databases.SQLiteFile(tmp_path)
    return databases.PostgresDatabase(request.getfixturevalue("postgres_server"))


@pytest.fixture(scope="session", params=databases.ENGINES)
def reusable(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> databases.Reusable:
    """Return a database of each engine that is emptied for each example."""
    if request.param == "sqlite":
        return databases.ReusableFile(tmp_path_factory.mktemp("databases"))
    return databases.ReusablePostgres(request.getfixturevalue("postgres_server"))


def pytest_configure(config: pytest.Config) -> None:
    """Search less with `-m "not e2e"`, which is run while working, than in the whole suite.

    mitmproxy's LDAP client uses old names of pyasn1; a test may be the first to import it.
    """
    config.addinivalue_line("filterwarnings", "ignore:.*Map is deprecated:DeprecationWarning")
    if config.option.markexpr == "not e2e":
        settings.load_profile("while_working")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt modules and collected tests, which stay to the end, from garbage collection."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folder of end-to-end tests unread with `-m "not e2e"`: its imports take seconds."""
    return True if config.option.markexpr == "not e2e" and collection_path == END_TO_END else None


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark tests by their folder and by the fixtures that they use."""
    is_end_to_end = cache(lambda path: END_TO_END in path.parents)  # thousands share a path
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        if (
            is_end_to_end(item.path)
            or PROCESSES.intersection(getattr(item, "fixturenames", ()))
            or "postgres" in map(str, values.values())
        ):
            item.add_marker("e2e")
