"""Measures the reports on a database of a million interceptions: CPU time and memory of each.

Prints one line per report with the bound that it should hold: CPU seconds, with those of the
PostgreSQL server if it is on this machine. Makes the database first, unless `--db` names one that
is there; `--keep` leaves a file for the next time.
"""

import argparse
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import million_postgres
import million_rows

from aibridge_addon.report.periods import instant_text
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.store import open_store
from aibridge_addon.store.sql.refresh import refresh_one

DEFAULT, ALL_TIME, PAGE = 0.3, 1.0, 0.3
"""Seconds that a report may take: of the last days, of all time, of a page."""
_MIB = 2**20


def ago(days: int) -> str:
    """Return the time some days ago."""
    return instant_text(datetime.now(UTC) - timedelta(days=days))


def totals(since: str, *by: str, **filters: tuple[str, ...]) -> Callable[[Reports], object]:
    """Return a function that reads totals."""
    return lambda reports: reports.totals(TotalsQuery(since=since, by=by, limit=40, **filters))  # type: ignore[arg-type]


def overview(since: str) -> Callable[[Reports], object]:
    """Return a function that reads what the overview of the web page shows."""
    groups = (("day", "model"), ("actor", "client"), ("tool",))
    reads = [totals(since, *by) for by in groups]
    query = RequestQuery(since=since)
    return lambda reports: (
        [read(reports) for read in reads],
        reports.latency(query),
        reports.tunnels(query),
    )


def _one_request(reports: Reports) -> object:
    (row,) = reports.requests(RequestQuery(limit=1)).rows
    return reports.interception(row.id)


def _next_page(reports: Reports) -> object:
    cursor = reports.sessions(RequestQuery(limit=50)).next_cursor
    return reports.sessions(RequestQuery(limit=50, cursor=cursor))


REPORTS: dict[str, tuple[float, Callable[[Reports], object]]] = {
    "7 days by model": (DEFAULT, totals(ago(7), "model")),
    "7 days by actor and model": (DEFAULT, totals(ago(7), "actor", "model")),
    "7 days of one actor by day": (DEFAULT, totals(ago(7), "day", actors=("actor-003",))),
    "7 days by session": (DEFAULT, totals(ago(7), "session")),
    "7 days by tool": (DEFAULT, totals(ago(7), "tool")),
    "30 days by session": (DEFAULT, totals(ago(30), "session")),
    "30 days by tool": (DEFAULT, totals(ago(30), "tool")),
    "30 days by actor and tool": (DEFAULT, totals(ago(30), "actor", "tool")),
    "7 days, failed, by model": (DEFAULT, totals(ago(7), "model", statuses=("failed",))),
    "30 days by day and model": (PAGE, totals(ago(30), "day", "model")),
    "30 days by person": (PAGE, lambda reports: reports.people(RequestQuery(since=ago(30)))),
    "30 days latency": (PAGE, lambda reports: reports.latency(RequestQuery(since=ago(30)))),
    "all time by model": (ALL_TIME, totals("", "model")),
    "all time by month and actor": (ALL_TIME, totals("", "month", "actor")),
    "all time by team": (ALL_TIME, totals("", "team")),
    "all time by session": (ALL_TIME, totals("", "session")),
    "all time by tool": (ALL_TIME, totals("", "tool")),
    "all time latency": (PAGE, lambda reports: reports.latency(RequestQuery())),
    "all time by person": (ALL_TIME, lambda reports: reports.people(RequestQuery())),
    "sessions, first page": (PAGE, lambda reports: reports.sessions(RequestQuery(limit=50))),
    "sessions, two pages": (2 * PAGE, _next_page),
    "sessions of one actor": (
        PAGE,
        lambda reports: reports.sessions(RequestQuery(limit=50, for_actor="actor-150")),
    ),
    "requests, first page": (PAGE, lambda reports: reports.requests(RequestQuery(limit=50))),
    "requests of an unknown model": (
        PAGE,
        lambda reports: reports.requests(RequestQuery(limit=50, models=("opus",))),
    ),
    "requests, failed": (
        PAGE,
        lambda reports: reports.requests(RequestQuery(limit=50, statuses=("failed",))),
    ),
    "newest request": (PAGE, _one_request),
    "overview, 7 days": (PAGE, overview(ago(7))),
    "overview, 30 days": (PAGE, overview(ago(30))),
    "overview, all time": (PAGE, overview("")),
}
"""Reports by name, with their bound in seconds."""


def main() -> None:
    """Make the database and measure."""
    parser = argparse.ArgumentParser(prog="scripts/million", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="interceptions to make")
    parser.add_argument("--db", help="database to make, or to measure if it is there")
    parser.add_argument("--keep", action="store_true", help="do not delete the file")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        for name in options.measure:
            measure(options.db, name)
        return
    with tempfile.TemporaryDirectory() as folder:
        location = options.db or str(Path(folder) / "million.sqlite3")
        if not is_made(location):
            prepare(location, options.count)
        for name in REPORTS:
            command = [sys.executable, __file__, "--db", location, "--measure", name]
            subprocess.run(command, check=True)
        if options.db and not options.keep and not _is_on_server(location):
            Path(location).unlink()


def _is_on_server(location: str) -> bool:
    return "://" in location


def is_made(location: str) -> bool:
    """Return True if a database has interceptions."""
    if _is_on_server(location):
        return million_postgres.is_filled(location)
    return Path(location).exists()


def prepare(location: str, count: int) -> None:
    """Make the database and roll it up."""
    begin = time.monotonic()
    if _is_on_server(location):
        million_postgres.make(location, count)
        made = time.monotonic()
        hours, rows = million_postgres.roll_up(location)
        size = million_postgres.bytes_of(location)
    else:
        million_rows.make(Path(location), count)
        made = time.monotonic()
        hours, rows = _roll_up_file(Path(location))
        size = Path(location).stat().st_size
    rolled = time.monotonic()
    print(
        f"{count:,} interceptions, {size / _MIB:,.0f} MiB, made in"
        f" {made - begin:.0f} s; {hours:,} hours rolled up into {rows:,} rows, "
        f"{(rolled - made) / hours * 1000:.1f} ms each",
        flush=True,
    )


def _roll_up_file(path: Path) -> tuple[int, int]:
    """Roll everything up; return the number of hours, and of rows of the roll-up."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        hours = 1
        while refresh_one(connection):
            hours += 1
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (rows,) = connection.execute("SELECT count(*) FROM aibridge_hourly").fetchone()
    return hours, int(rows)


def measure(location: str, name: str) -> None:
    """Measure one report, in a process of its own for its memory; prints the best of three."""
    reports = open_store(location).reports()
    bound, read = REPORTS[name]
    # CPU time is the same while other programs use the machine.
    clock = million_postgres.clock(location) if _is_on_server(location) else time.process_time
    read(reports)  # opens the connection
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = min(_seconds(clock, read, reports) for _ in range(3))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    verdict = "ok" if best <= bound else "TOO SLOW"
    print(f"{name:28} {best:7.3f} s of {bound:.1f} s  {grown:6.1f} MiB  {verdict}", flush=True)


def _seconds(
    clock: Callable[[], float], read: Callable[[Reports], object], reports: Reports
) -> float:
    begin = clock()
    read(reports)
    return clock() - begin


if __name__ == "__main__":
    main()
