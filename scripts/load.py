"""Loads `aibridge proxy` with a realistic mix of sessions, and prints what a capacity plan needs.

Sessions run side by side, each turn of a session after the one before:

agent   like Claude Code: 40 KB of system prompt and tools, a history that grows by 6 KB with each
        turn, streams of 150 events
codex   like Codex: the Responses API, a history that grows by 3 KB, streams of 80 events
chat    Chat Completions without a stream, a few sentences

Half of the sessions are agents, a quarter each of the others. Then streams are opened that send an
event each 50 ms, as models do. Load, upstream and proxy are separate processes; only the proxy's
CPU time counts, of all its processes. Everything that is said is recorded.

Turns follow each other without a pause, and their events come in bursts, so that a short run is
enough. A figure per session-hour assumes the given number of turns per hour, whose events come each
50 ms: a turn then costs what it cost here, and each second of its stream what an open stream costs.
Times of the load itself are worth nothing on a machine with few cores.
"""

import argparse
import asyncio
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from bench_load import Connection, ask_at_once, connect
from bench_requests import STAMPED
from bench_subjects import START_S, STOP_S, upstream
from bench_upstream import PACE_S, STAMPED_EVENTS
from load_sessions import KINDS
from rich.console import Console
from rich.table import Table

console = Console()

_CONFIG = """\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "http://127.0.0.1:{port}"
hosts = []

[[providers]]
name = "openai"
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
hosts = []
"""
_MIX = ("agent", "codex", "agent", "chat")
_SETTLE_S = 1.5
"""Seconds after the last response, in which the proxy still writes."""

# The proxy


class Loaded:
    """A proxy under load, with all its processes."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.port = port
        self._root = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time so far, of all processes."""
        return sum(_cpu(process) for process in self._processes())

    def memory_mib(self) -> float:
        """Return the memory that is the processes' alone."""
        return sum(p.memory_full_info().uss for p in self._processes()) / 2**20

    def _processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def running(options: argparse.Namespace, folder: Path, upstream_port: int) -> Iterator[Loaded]:
    """Run the proxy.

    Raises:
        SystemExit: it does not come up.
    """
    config = folder / "aibridge.toml"
    config.write_text(_CONFIG.format(port=upstream_port))
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "aibridge_addon.cli", "proxy", "--port", "off"),
            *("--reverse-port", str(port), "--metrics", "off", "--config", str(config)),
            *("--workers", str(options.workers), "--db", options.db or str(folder / "load.db")),
            *("--set", f"confdir={folder}", "--set", "aibridge_capture=all"),
            *("--set", "aibridge_private_networks=*"),
        ],
        env={**_environment(), "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert process.stdout
        is_up = b"workers are up" if options.workers > 1 else b"is up"
        printed: list[bytes] = []
        while is_up not in (line := process.stdout.readline()):
            if not line:
                raise SystemExit(f"The proxy did not come up:\n{b''.join(printed).decode()}")
            printed.append(line)
        yield Loaded(process, port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S + START_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _environment() -> dict[str, str]:
    foreign = r"(?i)(.*_proxy|ANTHROPIC_.*|OPENAI_.*|PYTHON.*|AIBRIDGE_.*)$"
    return {name: value for name, value in os.environ.items() if not re.match(foreign, name)}


# The record


class Record:
    """The size of the record, and the transactions that it took."""

    def __init__(self, location: str | None, folder: Path) -> None:
        self._location = location
        self._folder = folder

    def size(self) -> int:
        """Return its size in bytes, without write-ahead logs: these are reused."""
        if self._location and "://" in self._location:
            return int(self._query("SELECT pg_database_size(current_database())"))
        path = Path(self._location) if self._location else self._folder / "load.db"
        with closing(sqlite3.connect(path)) as connection:
            [(size,)] = connection.execute(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )
        return int(size)

    def transactions(self) -> int | None:
        """Return the number of transactions so far; None if the engine does not count them."""
        if not (self._location and "://" in self._location):
            return None
        text = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        return int(self._query(text))

    def _query(self, text: str) -> Any:
        import psycopg

        assert self._location
        try:
            with psycopg.connect(self._location) as connection:
                row = connection.execute(text.encode()).fetchone()
        except psycopg.OperationalError as error:
            raise SystemExit(f"The database cannot be asked for its size: {error}") from error
        return row[0] if row else 0


# Measuring


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that was measured."""

    turns: int
    seconds: float
    cpu_per_turn: float
    bytes_per_turn: float
    transactions_per_turn: float | None
    cpu_per_stream: float
    """CPU seconds per second of an open stream."""
    memory_mib: float

    def cpu_per_paced_turn(self) -> float:
        """Return the CPU seconds of a turn whose events come one by one."""
        return self.cpu_per_turn + _stream_seconds() * self.cpu_per_stream


def _stream_seconds() -> float:
    """Return the seconds that the stream of a turn takes, on average."""
    return sum(KINDS[kind].events for kind in _MIX) / len(_MIX) * PACE_S


async def measure(options: argparse.Namespace, loaded: Loaded, record: Record) -> Figures:
    """Run the sessions, and then the streams."""
    await _sessions(loaded.port, sessions=len(_MIX), turns=1)  # warm up
    await asyncio.sleep(_SETTLE_S)
    cpu, size, committed = loaded.cpu_seconds(), record.size(), record.transactions()
    begun = time.monotonic()
    await _sessions(loaded.port, sessions=options.sessions, turns=options.turns)
    seconds = time.monotonic() - begun
    await asyncio.sleep(_SETTLE_S)
    turns = options.sessions * options.turns
    after = record.transactions()
    cpu_per_turn = (loaded.cpu_seconds() - cpu) / turns
    grown = record.size() - size
    cpu_per_stream = await streams(loaded, options.streams)
    return Figures(
        turns=turns,
        seconds=seconds,
        cpu_per_turn=cpu_per_turn,
        bytes_per_turn=grown / turns,
        transactions_per_turn=None if after is None else (after - (committed or 0)) / turns,
        cpu_per_stream=cpu_per_stream,
        memory_mib=loaded.memory_mib(),
    )


async def _sessions(port: int, *, sessions: int, turns: int) -> None:
    async def run(number: int) -> None:
        kind = KINDS[_MIX[number % len(_MIX)]]
        connection: Connection = await connect(port)
        try:
            for turn in range(turns):
                await connection.ask(kind.request(turn, f"session-{number}"))
        finally:
            connection.close()

    await asyncio.gather(*(run(number) for number in range(sessions)))


async def streams(loaded: Loaded, count: int) -> float:
    """Open paced streams; return the CPU seconds per second of an open stream."""
    request = STAMPED.raw.replace(b"POST /v1/", b"POST /anthropic/v1/", 1)
    cpu = loaded.cpu_seconds()
    await ask_at_once(loaded.port, request, streams=count, spread_s=STAMPED_EVENTS * PACE_S)
    used = loaded.cpu_seconds() - cpu
    return used / (count * STAMPED_EVENTS * PACE_S)


# Output


def show(figures: Figures, options: argparse.Namespace) -> None:
    """Print the figures: those that were measured, and those that follow by arithmetic."""
    an_hour = options.turns_per_hour
    cpu_hour = figures.cpu_per_paced_turn() * an_hour
    table = Table(title=f"{figures.turns} turns of {options.sessions} sessions")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("known by")
    rows = [
        (
            "CPU per turn, its stream in a burst",
            f"{figures.cpu_per_turn * 1000:.1f} ms",
            "measured",
        ),
        ("record per turn", f"{figures.bytes_per_turn / 1024:.1f} KiB", "measured"),
        (
            "record per session-hour",
            f"{figures.bytes_per_turn * an_hour / 2**20:.1f} MiB",
            "arithmetic",
        ),
        (
            f"CPU of a stream with {1 / PACE_S:.0f} events/s",
            f"{figures.cpu_per_stream * 100:.2f} % of a core",
            "measured",
        ),
        (
            "such streams per core, at 70 % of it",
            f"{0.7 / figures.cpu_per_stream:,.0f}",
            "arithmetic",
        ),
        (
            f"CPU per turn, its stream in {_stream_seconds():.2g} s",
            f"{figures.cpu_per_paced_turn() * 1000:.1f} ms",
            "arithmetic",
        ),
        (f"CPU per session-hour of {an_hour} such turns", f"{cpu_hour:.1f} s", "arithmetic"),
        ("such sessions per core, at 70 % of it", f"{0.7 * 3600 / cpu_hour:,.0f}", "arithmetic"),
        ("turns per second in this run", f"{figures.turns / figures.seconds:.1f}", "measured"),
        ("memory of all processes", f"{figures.memory_mib:.0f} MiB", "measured"),
    ]
    if figures.transactions_per_turn is not None:
        rows.append(
            ("PostgreSQL commits per turn", f"{figures.transactions_per_turn:.2f}", "measured")
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def main() -> None:
    """Run the load."""
    parser = argparse.ArgumentParser(
        prog="scripts/load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=1, help="worker processes of the proxy")
    parser.add_argument("--db", help="database to record in; default: a new SQLite file")
    parser.add_argument("--sessions", type=int, default=16, help="sessions at once")
    parser.add_argument("--turns", type=int, default=15, help="turns of each session")
    parser.add_argument("--streams", type=int, default=50, help="paced streams at once")
    parser.add_argument("--turns-per-hour", type=int, default=120, help="of a busy session")
    options = parser.parse_args()
    with (
        upstream() as ports,
        tempfile.TemporaryDirectory() as folder,
        running(options, Path(folder), ports.plain) as loaded,
    ):
        record = Record(options.db, Path(folder))
        show(asyncio.run(measure(options, loaded, record)), options)


if __name__ == "__main__":
    main()
