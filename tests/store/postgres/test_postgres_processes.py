"""Several processes on one PostgreSQL database."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from databases import PostgresDatabase
from store.doubles import all_of_one, started
from store.test_budgets import budget

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.facts import ProcessSeen, new_id, now
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.postgres import partitions, schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.budget_book import PostgresBudgetBook
from aibridge_addon.store.postgres.connection import connect
from aibridge_addon.store.postgres.sweeper import Sweeper
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.sql.budget_book import Work

BOUND = 60


@pytest.fixture
def database(postgres_server: str) -> PostgresDatabase:
    return PostgresDatabase(postgres_server)


def migrate(location: str) -> None:
    with closing(connect(Address(location))) as connection:
        schema.migrate(connection)


def test_processes_that_start_at_once_migrate_once(postgres_server: str) -> None:
    empty = PostgresDatabase(postgres_server, template=None)
    threads = [threading.Thread(target=migrate, args=(empty.location,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert len(empty.rows("migrations", "name")) > 10
    empty.write(*all_of_one(started()))  # no thread was in the way of another


def test_newer_schema_is_refused(database: PostgresDatabase) -> None:
    database.execute("INSERT INTO aibridge_migrations VALUES ('m999_future', '')")
    with pytest.raises(schema.SchemaTooNewError, match="m999_future"):
        migrate(database.location)


def test_column_of_a_later_version_is_added(database: PostgresDatabase) -> None:
    database.write(*all_of_one(started()))
    database.execute("ALTER TABLE aibridge_interceptions DROP COLUMN ttft_ms")
    database.execute("DELETE FROM aibridge_migrations WHERE name = 'm009_times_and_prices'")
    migrate(database.location)
    assert "ttft_ms" in database.rows("interceptions")[0]


def test_functions_of_an_earlier_version_are_replaced(database: PostgresDatabase) -> None:
    database.execute("DELETE FROM aibridge_migrations WHERE name = 'postgres-2'")
    database.execute("DROP FUNCTION aibridge_models_item(text, numeric)")
    migrate(database.location)
    assert database.select("SELECT aibridge_models_item('m', 1)") == [("0" * 19 + "1m",)]


def test_admissions_of_processes_at_once_never_exceed_a_budget(database: PostgresDatabase) -> None:
    """Each transaction admits calls of two people, in the one order or the other."""
    limit = budget(limit=50, is_strict=True)
    admitted: list[str] = []

    def admit_many(number: int) -> None:
        book = PostgresBudgetBook()
        works: list[Work] = []
        book.run = lambda work: cast(Any, works.append(work))
        with database.connected() as connection:
            for _ in range(10):
                works.clear()
                for scope in ("alice", "bob")[:: 1 if number % 2 else -1]:
                    call = BudgetedCall(
                        interception_id=new_id(),
                        scopes=((limit, scope),),
                        estimate=lambda unit: Estimate(worst=5, likely=5, input=1),
                    )
                    book.hold(call)
                with transaction(connection):
                    book.before(connection, works)
                    results = [work(connection) for work in works]
                admitted.extend("" for refusal in results if refusal is None)

    threads = [threading.Thread(target=admit_many, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert len(admitted) == 20
    held = "SELECT scope, sum(amount) FROM aibridge_budget_holds GROUP BY scope ORDER BY scope"
    assert database.select(held) == [("alice", 50), ("bob", 50)]


def test_revoked_access_token_is_seen_by_another_process_at_its_next_reading(
    database: PostgresDatabase,
) -> None:
    token = AccessToken.make("alice")[1]
    here, there = database.store, database.store
    assert here.access_tokens() == {}
    there.add_access_token(token)
    assert here.access_tokens() == {token.id: token}
    there.revoke_access_tokens("alice")
    assert here.access_tokens()[token.id].revoked_at is not None


def test_reader_whose_connection_was_cut_reads_access_tokens_again(
    database: PostgresDatabase,
) -> None:
    here, there = database.store, database.store
    assert here.access_tokens() == {}
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'aibridge tokens' AND datname = current_database()"
    )
    token = AccessToken.make("alice")[1]
    there.add_access_token(token)
    assert here.access_tokens() == {token.id: token}


def id_at(moment: datetime) -> str:
    """Return an id (UUIDv7) that was made at a time."""
    return partitions.first_id(moment) + new_id()[13:]


@pytest.fixture
def old(database: PostgresDatabase) -> datetime:
    """Record some interceptions of two months ago, and one of today; return the old time."""
    month = partitions.month_of(partitions.month_of(datetime.now(UTC)) - timedelta(days=45))
    moment = month + timedelta(days=3)
    with database.connected() as connection:
        for statement in partitions.create(month):
            connection.execute(statement)
    text = moment.isoformat(timespec="microseconds")
    one = started(id=id_at(moment), started_at=text)
    database.write(*all_of_one(one), *all_of_one(started(id=id_at(moment), started_at=text)))
    database.write(*all_of_one(started()))
    return moment


def sweep(database: PostgresDatabase, days: int) -> int:
    """Execute all steps of a round; return the number of deleted interceptions."""
    deleted: list[int] = []
    sweeper = Sweeper(Retention(interceptions=days), deleted.append)
    with closing(connect(Address(database.location))) as connection:
        for _ in range(20):
            sweeper.step(connection)
    return sum(deleted)


def partitions_of(database: PostgresDatabase, moment: datetime) -> list[str]:
    names = [partitions.name_of(table, moment) for table in partitions.KEYS]
    return [n for n in names if database.select("SELECT to_regclass(?)", [n]) != [(None,)]]


def test_month_is_dropped_whole_after_its_retention_and_its_figures_stay(
    database: PostgresDatabase, old: datetime
) -> None:
    before = database.reports.totals(TotalsQuery(by=("month",)))
    assert len(partitions_of(database, old)) == 5

    assert sweep(database, days=20) == 2

    assert partitions_of(database, old) == []
    for table in ("interceptions", "token_usages", "user_prompts", "model_thoughts"):
        assert len(database.rows(table)) == 1
    assert database.reports.totals(TotalsQuery(by=("month",))) == before


def test_rows_of_a_month_that_is_not_over_are_deleted_one_by_one(
    database: PostgresDatabase, old: datetime
) -> None:
    before = database.reports.totals(TotalsQuery(by=("month",)))
    database.write(started(id=id_at(old), started_at=old.isoformat(timespec="microseconds")))

    assert sweep(database, days=20) == 2, "an open interception keeps its month"

    assert len(partitions_of(database, old)) == 5
    totals = database.reports.totals(TotalsQuery(by=("month",)))
    assert totals.overall.completed == before.overall.completed == 3
    assert totals.overall.requests == 4


def as_user_of_tables(database: PostgresDatabase) -> PostgresDatabase:
    """Return the database as a role sees it that may use the tables, which others own."""
    role = database.location.rpartition("/")[2]
    database.execute(f"CREATE ROLE {role}")
    database.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    )
    return PostgresDatabase.at(f"{database.location}?options=-c%20role%3D{role}")


def test_role_that_does_not_own_the_tables_deletes_rows_of_an_expired_month_one_by_one(
    database: PostgresDatabase, old: datetime
) -> None:
    before = database.reports.totals(TotalsQuery(by=("month",)))
    for table in partitions.KEYS:  # as if time had gone on since the owner was there
        database.execute(f"DROP TABLE {partitions.name_of(table, months_ahead(2))}")

    assert sweep(as_user_of_tables(database), days=20) == 2

    assert len(partitions_of(database, old)) == 5
    assert database.reports.totals(TotalsQuery(by=("month",))) == before


@pytest.mark.parametrize("skew", [timedelta(hours=-2), timedelta(hours=2)], ids=["behind", "ahead"])
def test_process_on_a_machine_with_another_clock_is_alive_until_it_is_silent(
    database: PostgresDatabase, skew: timedelta
) -> None:
    at = (datetime.now(UTC) + skew).isoformat(timespec="microseconds")
    sign = {"host": "one", "pid": 7, "version": "0", "started_at": at, "seen_at": at}
    load = {"open_requests": 1, "requests": 2, "cpu_percent": 3.5}
    for text in ("lives", "is silent"):
        seen = ProcessSeen(id=text, ended_at=None, **sign, **load)  # type: ignore[arg-type]
        database.write(seen, started(process_id=text, started_at=at))
    assert all(abs(age(row["seen_at"])) < 60 for row in database.rows("processes"))
    long_ago = (datetime.now(UTC) - timedelta(seconds=61)).isoformat(timespec="microseconds")
    database.execute("UPDATE aibridge_processes SET seen_at = ? WHERE id = 'is silent'", [long_ago])

    sweep(database, days=20)

    states = {row["process_id"]: row["status"] for row in database.rows("interceptions")}
    assert states == {"lives": None, "is silent": "interrupted"}


@pytest.mark.parametrize("skew", ["-2 hours", "2 hours"], ids=["behind", "ahead"])
def test_processes_are_as_old_as_the_clock_of_the_server_says(
    database: PostgresDatabase, skew: str
) -> None:
    database.execute("CREATE SCHEMA skewed")
    database.execute(
        "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        f" AS $$ SELECT pg_catalog.clock_timestamp() + interval '{skew}' $$"
    )
    search_path = "?options=-c%20search_path%3Dskewed,public,pg_catalog"
    skewed = PostgresDatabase.at(database.location + search_path)
    at = now()
    sign = {"host": "one", "pid": 7, "version": "0", "started_at": at, "seen_at": at}
    load = {"open_requests": 1, "requests": 2, "cpu_percent": 3.5}
    skewed.write(ProcessSeen(id="a", ended_at=None, **sign, **load))  # type: ignore[arg-type]
    assert abs(age(skewed.rows("processes")[0]["seen_at"])) > 3600
    (row,) = skewed.reports.processes()
    assert timedelta() <= row.silence < timedelta(seconds=60)


def age(moment: str) -> float:
    """Return the seconds since a time."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def months_ahead(number: int) -> datetime:
    """Return the beginning of a later month."""
    month = partitions.month_of(datetime.now(UTC))
    for _ in range(number):
        month = partitions.next_month(month)
    return month


def test_rows_of_a_clock_that_is_months_ahead_do_not_stop_later_partitions(
    database: PostgresDatabase,
) -> None:
    ahead = months_ahead(2)
    for table in partitions.KEYS:
        database.execute(f"DROP TABLE {partitions.name_of(table, ahead)}")
    text = ahead.isoformat(timespec="microseconds")
    database.write(*all_of_one(started(id=id_at(ahead), started_at=text)))

    with database.connected() as connection:
        partitions.ensure(connection)

    assert partitions.name_of("aibridge_interceptions", ahead) not in partitions_of(database, ahead)
    database.write(*all_of_one(started(id=id_at(ahead), started_at=text)))
    assert len(database.rows("interceptions")) == 2


def test_partitions_are_created_ahead(database: PostgresDatabase) -> None:
    later = partitions.next_month(partitions.month_of(datetime.now(UTC)))
    assert len(partitions_of(database, later)) == 5


@pytest.mark.parametrize(
    ("dsn", "public"),
    [
        ("postgresql://me:s3cret@host:5/db?sslmode=require", "me@host:5/db?sslmode=require"),
        ("postgresql://me@host/db?password=s3cret&a=b", "me@host/db?a=b"),
        ("postgresql://me:s3cret@a,b:2/db?sslpassword=s3cret", "me@a,b:2/db"),
        ("postgresql:///db?host=/run/postgresql", "/db?host=/run/postgresql"),
        ("postgresql://me:s3@cret@host/db", "***"),
        ("postgresql://me:s3/cret@host/db", "***"),
    ],
)
def test_address_for_people_has_no_password(dsn: str, public: str) -> None:
    address = Address(dsn)
    assert address.public == f"postgresql://{public}"
    assert "s3cret" not in address.without_secrets(f"failed for {dsn}") or public == "***"


def test_process_that_was_given_a_password_opens_the_address_without_it() -> None:
    given = "postgresql://me:pw@somewhere/db?sslmode=require"
    public = Address(given).public
    assert Address(public).dsn == given
    assert Address("postgresql://me@elsewhere/db").dsn == "postgresql://me@elsewhere/db"


@pytest.mark.parametrize("dsn", ["postgresql://me:s3@cret@host/db", "postgresql://a:b/c@host/db"])
def test_ambiguous_password_is_refused_and_not_shown(dsn: str, tmp_path: Path) -> None:
    from aibridge_addon.store import open_store
    from aibridge_addon.store.errors import StoreError

    with pytest.raises(StoreError, match="write @ as %40") as error:
        open_store(dsn).access_tokens()
    assert "cret" not in str(error.value).replace("aibridge", "")


def test_text_with_nul_is_stored_with_a_replacement(database: PostgresDatabase) -> None:
    one = started(model="a\0b")
    database.write(*all_of_one(one))
    assert database.rows("interceptions")[0]["model"] == "a\ufffdb"
