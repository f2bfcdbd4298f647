"""The core knows neither proxy nor store nor loop."""

import ast
from pathlib import Path

import pytest

import aibridge_addon

PACKAGE = Path(aibridge_addon.__file__).parent
CORE = (
    "addresses",
    "background_record",
    "batch_record",
    "captured_bodies",
    "access.asked",
    "access.budget_rule",
    "access.keys",
    "access.jwt.issuer",
    "access.jwt.keys",
    "access.jwt.reading",
    "access.limits",
    "access.matching_rules",
    "access.model_rule",
    "access.named_models",
    "access.policies",
    "access.requested_models",
    "access.selection",
    "access.sender",
    "access.tokens",
    "budgets",
    "failed_sends",
    "fact_bus",
    "facts",
    "headers",
    "formats",
    "interception",
    "patterns",
    "prices",
    "providers",
    "redaction",
    "rate_limits",
    "raw_json",
    "lenient_json",
    "reset_times",
    "report",
    "tools.catalogue",
    "tools.ledger",
    "tools.legal",
    "tools.names",
    "tools.refused_edits",
    "tools.schema_roots",
    "tools.schemas",
    "tools.server_config",
    "upstream_times",
)
FOREIGN = {"mitmproxy", "sqlite3", "sqlite_utils", "asyncio", "mcp", "prometheus_client"}
FILES = sorted(
    path
    for name in CORE
    for pattern in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/**/*.py")
    for path in PACKAGE.glob(pattern)
)


def imports(source: str) -> set[str]:
    """The modules that a source imports; `from a import b` as `a.b`, for `b` may be a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_core(name: str) -> bool:
    name = name.removeprefix("aibridge_addon.")
    return any(name == core or name.startswith(f"{core}.") for core in CORE)


def test_the_core_imports_nothing_of_the_outside() -> None:
    found = [(path, name) for path in FILES for name in imports(path.read_text())]
    assert [(path, name) for path, name in found if name.split(".")[0] in FOREIGN] == []


def test_the_core_imports_nothing_of_ours_but_the_core() -> None:
    found = [(path, name) for path in FILES for name in imports(path.read_text())]
    ours = [(path, name) for path, name in found if name.startswith("aibridge_addon.")]
    assert [(path, name) for path, name in ours if not is_core(name)] == []


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "def f():\n    import sqlite3.dbapi2\n    from mitmproxy import http, ctx\n"
    assert imports(source) == {"sqlite3.dbapi2", "mitmproxy.http", "mitmproxy.ctx"}


def test_only_the_sqlite_store_imports_sqlite() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if {name.split(".")[0] for name in imports(path.read_text())} & {"sqlite3", "sqlite_utils"}
    }
    assert {user for user in users if not user.startswith("store/sqlite/")} == set()


BASE = frozenset(
    {"addresses", "captured_bodies", "facts", "failed_sends", "file_locks", "findings", "headers"}
    | {"library_logs", "patterns", "replaced_files"}
    | {"lenient_json", "rate_limits", "raw_json", "upstream_times", "reset_times"}
)
ARROWS: dict[str, frozenset[str]] = {
    "formats": BASE,
    "fact_bus": BASE,
    "interception": BASE | {"formats"},
    "background_record": BASE | {"formats", "interception"},
    "batch_record": BASE | {"background_record", "formats", "interception"},
    "providers": BASE | {"formats"},
    "tools": BASE | {"formats"},
    "budgets": BASE | {"prices", "report"},
    "access": BASE | {"budgets", "providers"},
    "prices": BASE | {"providers"},
    "report": BASE | {"formats"},
    "redaction": BASE,
    "store": BASE | {"access", "budgets", "fact_bus", "formats", "prices", "redaction", "report"},
    "web": BASE | {"access", "budgets", "formats", "providers", "report", "store"},
    "config": BASE
    | {"access", "budgets", "prices", "providers", "redaction", "telemetry", "tools"},
    "telemetry": BASE | {"budgets", "fact_bus", "formats"},
    "observe": BASE | {"prices", "tools"},
    "views": BASE | {"fact_bus", "formats", "providers", "report"},
    "relay": BASE | {"access", "formats", "providers", "redaction"},
    "exchange": BASE
    | {
        "access",
        "background_record",
        "batch_record",
        "config",
        "fact_bus",
        "formats",
        "interception",
        "observe",
        "providers",
    }
    | {"budgets", "prices", "redaction", "relay", "report", "tools"},
}
"""Rooms that each room may import, as the architecture page describes them."""


@pytest.mark.parametrize("room", ARROWS)
def test_room_imports_only_rooms_below_it(room: str) -> None:
    files = [*PACKAGE.glob(f"{room}.py"), *PACKAGE.glob(f"{room}/**/*.py")]
    names = {name for path in files for name in imports(path.read_text())}
    ours = {name.split(".")[1] for name in names if name.startswith("aibridge_addon.")}
    assert ours - ARROWS[room] - {room, "__version__"} == set()


ENGINES: dict[str, frozenset[str]] = {
    "store/sql": frozenset(),
    "store/sqlite": frozenset({"sql"}),
    # The tables are derived from those of SQLite, and a SQLite file can be copied.
    "store/postgres": frozenset({"sql", "sqlite.description", "sqlite.snapshot"}),
}
"""Rooms of the store, and the rooms and modules of the store's other rooms that each may import."""


@pytest.mark.parametrize("room", ENGINES)
def test_engine_of_the_store_imports_no_other_engine(room: str) -> None:
    own = room.replace("/", ".")
    names = {name for path in PACKAGE.glob(f"{room}/**/*.py") for name in imports(path.read_text())}
    of_store = {name.removeprefix("aibridge_addon.") for name in names}
    rooms = tuple(f"{other.replace('/', '.')}." for other in ENGINES)
    others = {
        n for n in of_store if f"{n}.".startswith(rooms) and not f"{n}.".startswith(f"{own}.")
    }
    allowed = tuple(f"store.{name}." for name in ENGINES[room])
    assert {name for name in others if not f"{name}.".startswith(allowed)} == set()
