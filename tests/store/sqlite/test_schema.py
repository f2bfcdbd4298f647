"""Migrations from every version to the newest, and the contract of tables and columns."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlite_utils import Database
from store.doubles import started

from aibridge_addon.store.sqlite.schema import TABLES, SchemaTooNewError, migrate, migrations
from aibridge_addon.store.statements import statements

CONTRACT = {
    "aibridge_interceptions": (
        "id initiator_id metadata provider provider_name api model client user_agent"
        " client_session_id correlating_tool_call_id credential_kind credential_hint streaming"
        " started_at ended_at status http_status error_type error_message partial"
        " request_kind prompt_id agent_id access_token_id ttft_ms process_id"
    ),
    "aibridge_token_usages": (
        "id interception_id provider_response_id model input_tokens output_tokens"
        " cache_read_input_tokens cache_write_input_tokens extra raw metadata created_at"
        " upstream started_at duration_ms ttft_ms service_tier cost_nano_usd"
        " uncached_cost_nano_usd price_source unpriced_reason provider_cost_nano_usd"
    ),
    "aibridge_user_prompts": (
        "id interception_id provider_response_id prompt metadata created_at digest"
    ),
    "aibridge_tool_usages": (
        "id interception_id provider_response_id tool tool_call_id server_url input injected"
        " invocation_error metadata created_at duration_ms result_bytes"
    ),
    "aibridge_model_thoughts": (
        "id interception_id provider_response_id content metadata created_at"
    ),
}
CONTENT = {
    "aibridge_messages": "interception_id upstream position role part",
    "aibridge_parts": "digest kind content compressed created_at",
}
CONTRACT |= CONTENT
with closing(Database(memory=True)) as empty:
    NAMES = [migration.name for migration in migrations.pending(empty)]


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(memory=True)
    yield database
    database.close()


def test_tables_and_columns_match_the_contract(db: Database) -> None:
    migrate(db)

    assert set(CONTRACT) <= set(TABLES) <= set(db.table_names())
    found = {name: " ".join(column.name for column in db.table(name).columns) for name in CONTRACT}
    assert found == CONTRACT


def test_child_tables_reference_and_index_their_interception(db: Database) -> None:
    migrate(db)

    for name in set(CONTRACT) - {"aibridge_interceptions", *CONTENT}:
        (key,) = db.table(name).foreign_keys
        assert (key.column, key.other_table) == ("interception_id", "aibridge_interceptions")
        assert ["interception_id"] in [index.columns for index in db.table(name).indexes]


@pytest.mark.parametrize("column", ["started_at", "ended_at"])
def test_interceptions_are_indexed_by_their_start_and_end(db: Database, column: str) -> None:
    migrate(db)

    indexes = [index.columns for index in db.table("aibridge_interceptions").indexes]
    assert [column] in indexes


def test_second_migration_changes_nothing(db: Database) -> None:
    migrate(db)
    before = db.schema

    migrate(db)

    assert db.schema == before


@pytest.mark.parametrize("name", NAMES[1:])
def test_rows_survive_each_migration(db: Database, name: str) -> None:
    migrations.apply(db, stop_before=name)
    interception = started()
    (statement,) = statements([interception])
    columns = {column.name for column in db.table("aibridge_interceptions").columns}
    values = {name: value for name, value in statement.values.items() if name in columns}
    db.table("aibridge_interceptions").insert(values)

    migrate(db)

    (row,) = db.table("aibridge_interceptions").rows
    assert {column: row[column] for column in values} == values
    assert [migration.name for migration in migrations.applied(db)] == NAMES


def test_unknown_migration_is_refused_as_a_newer_version(db: Database) -> None:
    migrate(db)
    db.table("_sqlite_migrations").insert(
        {"migration_set": "aibridge", "name": "m999_new", "applied_at": "2099"}
    )

    with pytest.raises(SchemaTooNewError, match="newer version: m999_new"):
        migrate(db)


def test_migrations_of_other_programs_are_ignored(db: Database) -> None:
    migrate(db)
    db.table("_sqlite_migrations").insert(
        {"migration_set": "another", "name": "m999_new", "applied_at": "2099"}
    )

    migrate(db)
