"""`aibridge doctor` on a PostgreSQL database: findings, and what to do about them."""

import re
import sys

import pytest
from databases import PostgresDatabase
from ports import free_port
from store.doubles import all_of_one, started

from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.cures import cure_of
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


def test_read_only_database_is_reported(database: PostgresDatabase) -> None:
    location = f"{database.location}?options=-c%20default_transaction_read_only%3Don"
    _, found = inspect(Address(location))
    assert (found.level, found.what.endswith(": read-only")) == ("bad", True)
    assert "default_transaction_read_only" in found.to_do


def test_role_that_may_only_read_is_reported(database: PostgresDatabase) -> None:
    role = f"{database.location.rpartition('/')[2]}_reader"
    database.execute(f"CREATE ROLE {role}")
    database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    found = findings(f"{database.location}?options=-c%20role%3D{role}")
    assert ("bad", "the role may not write to the tables") in found


def test_lock_on_a_table_is_reported_by_doctor_and_reports(database: PostgresDatabase) -> None:
    text = f"{database.location}: another program holds a lock on a table"
    with database.connected() as other, transaction(other):
        other.execute("LOCK TABLE aibridge_migrations IN ACCESS EXCLUSIVE MODE")
        (found,) = inspect(Address(database.location))
        with pytest.raises(StoreError, match=f"{re.escape(text)}$"):
            database.reports.totals(TotalsQuery())
    assert (found.level, found.what) == ("bad", text)
    assert "pg_blocking_pids()" in found.to_do


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "correct the host "),
        ("connection failed: Connection refused Is the server running", "start the server"),
        ("connection timeout expired", "start the server"),
        ('FATAL: password authentication failed for user "a"', "correct user and password"),
        ("fe_sendauth: no password supplied", "correct user and password"),
        ('FATAL: role "ghost" does not exist', "create the role"),
        ('FATAL: database "ghost" does not exist', "create the database"),
        ('FATAL: pg_hba.conf rejects connection for host "1.2.3.4"', "allow this machine"),
        ("server does not support SSL, but SSL was required", "correct sslmode"),
        ('FATAL: too many connections for role "a"', "raise max_connections"),
        ("remaining connection slots are reserved for roles with", "raise max_connections"),
        ("permission denied for table aibridge_migrations", "grant the role"),
        ("canceling statement due to statement timeout", "raise statement_timeout"),
        ("something else", "check the address"),
    ],
)
def test_error_of_the_server_has_its_cure(message: str, cure: str) -> None:
    assert cure_of(f"postgresql://me@db/aibridge: {message}").startswith(cure)


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
