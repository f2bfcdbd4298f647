"""`aibridge doctor` on a PostgreSQL database: findings, and what to do about them."""

import sys

import pytest
from databases import PostgresDatabase
from ports import free_port
from store.doubles import all_of_one, started

from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.inspection import inspect


@pytest.fixture
def database(postgres_server: str) -> PostgresDatabase:
    return PostgresDatabase(postgres_server)


def findings(location: str) -> list[tuple[str, str]]:
    return [(found.level, found.what) for found in inspect(Address(location))]


def test_database_with_requests_is_in_order(database: PostgresDatabase) -> None:
    database.write(*all_of_one(started()))
    ((level, what),) = findings(database.location)
    assert level == "ok"
    assert f"{database.location}, PostgreSQL " in what
    assert ", 1 request, " in what


def test_empty_database_is_in_order_and_stays_empty(postgres_server: str) -> None:
    empty = PostgresDatabase(postgres_server, template=None)
    ((level, what),) = findings(empty.location)
    assert (level, "no tables yet" in what) == ("ok", True)
    assert empty.select("SELECT to_regclass('aibridge_migrations')") == [(None,)]


def test_role_without_the_right_to_create_tables_is_reported(postgres_server: str) -> None:
    empty = PostgresDatabase(postgres_server, template=None)
    role = empty.location.rpartition("/")[2]
    empty.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    empty.execute(f"CREATE ROLE {role}")
    found = findings(f"{empty.location}?options=-c%20role%3D{role}")
    assert ("bad", "the role may not create the tables") in found


def test_newer_schema_is_reported_with_its_cure(database: PostgresDatabase) -> None:
    database.execute("INSERT INTO aibridge_migrations VALUES ('m999_future', '')")
    (found,) = inspect(Address(database.location))
    assert found.level == "bad"
    assert "a newer version has migrated it: m999_future" in found.what
    assert found.to_do == "use the newer version, or name another database"


@pytest.mark.parametrize(
    ("made_wrong", "error"),
    [
        (("/t", "/no_such_"), "does not exist"),
        (("postgres@", "nobody:s3cret@"), 'role "nobody" does not exist'),
    ],
    ids=["database", "role"],
)
def test_wrong_address_is_reported_without_its_password(
    database: PostgresDatabase, made_wrong: tuple[str, str], error: str
) -> None:
    location = database.location.replace(*made_wrong)
    assert_bad_and_secret(location, error)


def test_server_that_is_down_is_reported_without_the_password() -> None:
    assert_bad_and_secret(f"postgresql://me:s3cret@127.0.0.1:{free_port()}/aibridge", "refused")


def assert_bad_and_secret(location: str, error: str) -> None:
    (found,) = inspect(Address(location))
    assert found.level == "bad"
    assert error in found.what
    assert "s3cret" not in found.what
    assert "\n" not in found.what
    assert found.to_do


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (found,) = inspect(Address("postgresql://localhost/aibridge"))
    assert found.level == "bad"
    assert 'pip install "aibridge-addon[postgres]"' in found.what
