"""The PostgreSQL recorder while its database is away: nothing is lost, and nothing is twice."""

import asyncio
import contextlib
import logging
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import TEMPLATE, PostgresDatabase, make_template
from postgres_server import Server, Standby, folder_of_programs
from store.doubles import all_of_one, record, started
from store.sqlite.test_recorder import Events
from tcp_proxy import TCPProxy

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import record_writer, threaded_recorder
from aibridge_addon.store.errors import RecorderError, StoreError
from aibridge_addon.store.postgres import writer
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.recorder import PostgresRecorder

BOUND = 30
pytestmark = [
    pytest.mark.skipif(not folder_of_programs(), reason="PostgreSQL is not installed"),
    pytest.mark.e2e,
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a server that tests may stop."""
    made = Server(max_connections=12, superuser_reserved_connections=3)
    try:
        make_template(made.url)
        yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record_writer, "RETRY_SECONDS", (0.05, 0.2))
    monkeypatch.setattr(threaded_recorder, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(writer, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(writer, "user_data_path", lambda *args, **options: tmp_path)


class Recording:
    """A recorder, and the ids of what it has recorded."""

    def __init__(self, database: PostgresDatabase, location: str = "") -> None:
        self.database = database
        self.events = Events()
        self.recorder = PostgresRecorder(
            Address(location or database.location), on_event=self.events
        )
        self.recorder.start()
        self.ids: list[str] = []

    async def one(self) -> bool:
        """Record an interception; return True if it is safe."""
        interception = started()
        self.ids.append(interception.id)
        record(self.recorder, *all_of_one(interception))
        return await asyncio.wait_for(self.recorder.kept(), BOUND)

    async def available(self) -> None:
        """Wait until the database is available, and has everything."""
        async with asyncio.timeout(BOUND):
            while not self.recorder.available:
                await asyncio.sleep(0.02)

    def assert_all_is_stored_once(self) -> None:
        """Assert that the tables have each interception and its rows once."""
        for table in ("interceptions", "token_usages", "user_prompts", "tool_usages"):
            column = "id" if table == "interceptions" else "interception_id"
            rows = self.database.rows(table, column)
            assert [row[column] for row in rows] == sorted(self.ids), table
        ends = self.database.rows("endings", "seq")
        assert sorted(row["interception_id"] for row in ends) == sorted(self.ids)


@contextlib.contextmanager
def recording(database: PostgresDatabase, location: str = "") -> Iterator[Recording]:
    """Record, and close the recorder at the end."""
    made = Recording(database, location)
    try:
        yield made
    finally:
        made.recorder.close()


@pytest.fixture
def database(server: Server) -> PostgresDatabase:
    return PostgresDatabase(server.url)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_facts_of_a_server_that_restarts_are_spooled_and_stored_once(
    server: Server, database: PostgresDatabase, how: signal.Signals
) -> None:
    with recording(database) as made:
        assert await made.one()
        server.stop(how)
        assert await made.one()
        assert await made.one()
        assert not made.recorder.available
        assert made.events.counts["spooled"] > 0
        server.start()
        await made.available()
        assert await made.one()
        made.assert_all_is_stored_once()


async def test_network_that_swallows_everything_does_not_delay_responses_for_long(
    server: Server, database: PostgresDatabase
) -> None:
    with TCPProxy(server.port) as proxy:
        location = database.location.replace(str(server.port), str(proxy.port))
        with recording(database, location) as made:
            assert await made.one()
            proxy.stall()
            async with asyncio.timeout(2):  # as long as responses wait
                assert await made.one()
            async with asyncio.timeout(0.5):  # nothing waits for a connection
                assert await made.one()
            proxy.cut()
            proxy.flow()
            await made.available()
            made.assert_all_is_stored_once()


@pytest.fixture
def small_disk(server: Server) -> Iterator[Path]:
    """Return a folder on a small disk, which the server may write to."""
    folder = server.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0777", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("a small disk needs the right to mount it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write a file that takes all that is free of a disk."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    return ballast


async def test_facts_are_spooled_while_the_disk_of_the_server_is_full_and_stored_once(
    server: Server, small_disk: Path
) -> None:
    space = small_disk / "space"
    space.mkdir()
    server.own(space)
    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
        admin.execute(f"CREATE DATABASE small TEMPLATE {TEMPLATE} TABLESPACE small".encode())
    database = PostgresDatabase.at(f"{server.url}/small")
    with recording(database) as made:
        assert await made.one()
        ballast = fill(small_disk)
        async with asyncio.timeout(BOUND):
            while made.recorder.available:  # until the pages that the tables have are full
                assert await made.one()
        assert made.events.counts["spooled"] > 0
        assert await made.one()
        ballast.unlink()
        await made.available()
        assert await made.one()
        made.assert_all_is_stored_once()
    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE small WITH (FORCE)")
        admin.execute("DROP TABLESPACE small")


async def test_fail_over_to_a_promoted_standby_loses_and_repeats_nothing() -> None:
    with contextlib.ExitStack() as stack:
        primary = Server(wal_level="replica", synchronous_standby_names="'*'")
        stack.callback(primary.remove)
        standby = Standby(primary)
        stack.callback(standby.remove)
        make_template(primary.url)
        database = PostgresDatabase(primary.url)
        proxy = stack.enter_context(TCPProxy(primary.port))
        through_proxy = database.location.replace(str(primary.port), str(proxy.port))
        both = database.location.replace(
            str(primary.port), f"{primary.port},127.0.0.1:{standby.port}"
        )
        location = f"{both}?target_session_attrs=read-write"
        recordings = [
            stack.enter_context(recording(database, each)) for each in (through_proxy, location)
        ]
        for made in recordings:
            assert await made.one()
        primary.stop(signal.SIGKILL)
        for made in recordings:
            assert await made.one()
            assert not made.recorder.available
        standby.promote()
        proxy.move(standby.port)
        for made in recordings:
            await made.available()
            assert await made.one()
        moved = PostgresDatabase.at(database.location.replace(str(primary.port), str(standby.port)))
        recordings[0].ids += recordings[1].ids
        recordings[0].database = moved
        recordings[0].assert_all_is_stored_once()


async def test_facts_are_spooled_while_the_server_is_a_standby_and_stored_once(
    server: Server, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "psycopg")  # other tests may have silenced it
    with recording(database) as made:
        assert await made.one()
        server.follow()
        assert await made.one()
        async with asyncio.timeout(BOUND):
            while "in a read-only transaction" not in caplog.text:
                await asyncio.sleep(0.02)
        assert await made.one()
        assert not made.recorder.available
        server.promote()
        await made.available()
        assert await made.one()
        made.assert_all_is_stored_once()
    assert not [record for record in caplog.records if record.name.startswith("psycopg")]


def test_access_tokens_are_read_from_a_standby_and_followed_once_it_is_promoted(
    server: Server, database: PostgresDatabase
) -> None:
    first, second = AccessToken.make("alice")[1], AccessToken.make("bob")[1]
    here, there = database.store, database.store
    there.add_access_token(first)
    server.follow()
    assert here.access_tokens() == {first.id: first}
    with pytest.raises(StoreError, match="the server is a standby or read-only"):
        there.revoke_access_tokens("alice")
    server.promote()
    there.revoke_access_tokens("alice")
    assert here.access_tokens()[first.id].revoked_at is not None
    there.add_access_token(second)
    assert second.id in here.access_tokens()


async def test_lock_of_another_program_does_not_delay_responses_for_long(
    database: PostgresDatabase,
) -> None:
    with recording(database) as made:
        assert await made.one()
        with psycopg.connect(database.location) as other:
            other.execute("LOCK TABLE aibridge_interceptions IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(2):
                assert await made.one()
            assert not made.recorder.available
        await made.available()
        made.assert_all_is_stored_once()


async def test_process_of_an_earlier_version_spools_and_says_why_until_it_is_replaced(
    database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with recording(database) as made:
        database.execute("INSERT INTO aibridge_migrations VALUES ('m999_future', '')")
        assert await made.one()
        assert made.recorder.available, "an open connection goes on"
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'aibridge recorder' AND datname = current_database()"
        )
        assert await made.one()
        async with asyncio.timeout(BOUND):
            while "a newer version has migrated it: m999_future" not in caplog.text:
                await asyncio.sleep(0.02)
        assert await made.one()
        with pytest.raises(RecorderError, match="m999_future"):
            Recording(database)
        database.execute("DELETE FROM aibridge_migrations WHERE name = 'm999_future'")
        await made.available()
        made.assert_all_is_stored_once()


async def test_recorder_starts_without_a_free_connection_and_stores_later(
    server: Server, database: PostgresDatabase
) -> None:
    with contextlib.ExitStack() as stack:
        taken: list[Any] = []
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                connection = psycopg.connect(f"{server.url}/postgres")
                taken.append(stack.enter_context(contextlib.closing(connection)))
        made = stack.enter_context(recording(database))
        assert await made.one()
        assert not made.recorder.available
        for connection in taken:
            connection.close()
        await made.available()
        made.assert_all_is_stored_once()


async def test_spool_of_a_dead_process_is_stored_although_others_live(
    server: Server, database: PostgresDatabase
) -> None:
    with recording(database) as lives:
        server.stop()
        dead = Recording(database)
        assert await dead.one()
        dead.recorder.close()  # the spool stays, as after a crash
        server.start()
        await lives.available()
        with recording(database) as started_again:
            started_again.ids = dead.ids
            started_again.assert_all_is_stored_once()


async def test_wrong_password_stops_the_start_and_is_not_shown(
    server: Server, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS keeper")
        admin.execute("CREATE ROLE keeper LOGIN PASSWORD 'right'")
    location = database.location.replace("postgres@", "keeper:s3cret%21@")
    recorder = PostgresRecorder(Address(location))
    with pytest.raises(RecorderError, match="password authentication failed") as error:
        recorder.start()
    recorder.close()
    for text in (str(error.value), caplog.text):
        assert "s3cret" not in text
        assert "s3cret%21" not in text


async def test_rejected_statements_go_to_a_file_and_all_others_are_committed(
    database: PostgresDatabase, tmp_path: Path
) -> None:
    with recording(database) as made:
        bad = started(metadata={"n": 1}, streaming="no number")
        record(made.recorder, bad)
        assert await made.one()
        assert made.events.counts["rejected"] == 1
        made.assert_all_is_stored_once()
    assert len(list(tmp_path.glob("**/*.rejected.jsonl"))) == 1
