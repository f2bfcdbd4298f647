"""Settings for Datasette: they cover every table, close those with secrets; queries are valid."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlite_utils import Database

from aibridge_addon.store.sqlite.schema import migrate
from docs.blocks import ROOT

SETTINGS = YAML(typ="safe").load(ROOT / "docs" / "querying" / "datasette.yaml")
RECORD: dict[str, Any] = SETTINGS["databases"]["aibridge"]
CLOSED = {
    *("aibridge_tokens", "aibridge_hidden_turns", "aibridge_background_responses"),
    *("aibridge_messages", "aibridge_parts"),
}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        migrate(Database(connection))
        yield connection


def test_every_table_is_shown_or_hidden_on_purpose(db: sqlite3.Connection) -> None:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert tables - RECORD["tables"].keys() == set()


def test_tables_with_secrets_and_stored_contents_cannot_be_opened(db: sqlite3.Connection) -> None:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    search = {name for name in tables if name.startswith("aibridge_search")}

    for name in CLOSED | search:
        assert RECORD["tables"][name] == {"hidden": True, "allow": False}, name
    assert RECORD["allow_sql"] is False


def test_settings_name_only_columns_that_exist(db: sqlite3.Connection) -> None:
    for name, settings in RECORD["tables"].items():
        columns = {row[1] for row in db.execute(f"PRAGMA table_info({name})")}
        named = {
            settings.get("sort_desc"),
            settings.get("label_column"),
            *settings.get("facets", ()),
        }
        assert named - {None} <= columns, name


@pytest.mark.parametrize("name", RECORD["queries"])
def test_query_runs_and_reads_no_closed_table(db: sqlite3.Connection, name: str) -> None:
    query = RECORD["queries"][name]
    values = dict.fromkeys(query.get("params", ()), "words")

    assert db.execute(query["sql"], values).fetchall() == []
    assert not any(table in query["sql"] for table in CLOSED)
