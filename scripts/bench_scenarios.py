"""Scenarios of the benchmark: how each loads a proxy, and what it measures.

A scenario loads one proxy once and returns measures by name; `bench.py` repeats that for each
subject in turn. Responses are compared with those of the upstream itself: a proxy that loses a byte
stops the run.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench_load import Answer, WrongAnswerError, ask_at_once, ask_many, ask_once, open_streams
from bench_requests import (
    HELD,
    HOLDING,
    OFFERED,
    SMALL,
    STAMPED,
    STREAM_COALESCED,
    Asked,
)
from bench_subjects import ADDON, COMMAND, START_S, STREAMS, WITH_TOOLS, Ports, Proxy, Subject
from bench_tools import COUNT, central_tools, edit_seconds, edited
from bench_upstream import PACE_S, STAMPED_EVENTS

type Measures = dict[str, float]

SETTLE_S = 0.05
"""Seconds to wait after the last byte: work that a proxy does then belongs to the request."""
SETTLE_MEMORY_S = 1.5
GROWTH_S = 20.0
"""Number of requests that a slow machine reaches too; the growth per request shows with fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table."""

    measure: str
    unit: str
    base: str | None = None
    """The subject that the addon is compared with, by the ratio of the two in each round."""
    bound: float | None = None
    """Bound of the ratio; without a `base`, of the value."""
    own_bounds: Mapping[str, float] = field(default_factory=dict)
    """Bounds by subject, for subjects with a bound of their own."""
    within_noise: bool = False
    """True if the bound is the variation of the base between rounds."""
    besides: str | None = None
    """Another measure of the subject by which it may exceed the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of load."""

    name: str
    title: str
    rows: tuple[Row, ...]
    run: Callable[["Run"], Awaitable[Measures]]
    seconds: float
    """Seconds for which rounds are repeated; few rounds are worth little."""
    tls: bool = False
    """True if the upstream speaks TLS."""
    host: str = "127.0.0.1"
    """Name of the upstream's host."""
    fresh: bool = False
    """True if each round starts new processes, as memory needs."""
    bases: tuple[Subject, ...] = (STREAMS,)
    judged: tuple[Subject, ...] = (ADDON, COMMAND)

    def origin(self, ports: Ports) -> str:
        """Return the origin of the upstream."""
        return (
            f"https://{self.host}:{ports.tls}" if self.tls else f"http://{self.host}:{ports.plain}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One round of one scenario with one proxy."""

    proxy: Proxy
    upstream_port: int
    quick: bool
    before: Mapping[str, Measures]
    """Measures of the subjects that ran earlier in this round."""

    def count(self, count: int) -> int:
        """Return the number, or fewer in a quick run."""
        return max(count // 5, 1) if self.quick else count


# --- requests, one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A request that is sent many times."""

    request: Asked
    count: int
    connections: int

    async def run(self, run: Run) -> Measures:
        """Send the requests and return the CPU time of each."""
        return await self.run_as(run, self.request)

    async def run_as(self, run: Run, relayed: Asked) -> Measures:
        """Send the request and return the response that the proxy relays."""
        expected = await ask_once(run.upstream_port, relayed.raw)
        n = run.count(self.count)
        await self._ask(run, expected, n // 20 + 1)
        recorded = _recorded(run.proxy)
        cpu = run.proxy.cpu_seconds()
        answers = await self._ask(run, expected, n)
        await asyncio.sleep(SETTLE_S)
        cpu = run.proxy.cpu_seconds() - cpu
        if run.proxy.subject.records and _recorded(run.proxy) - recorded != n:
            raise WrongAnswerError(f"{_recorded(run.proxy) - recorded} of {n} were recorded")
        return {
            "CPU": cpu / n * 1000,
            "time": median(answer.total for answer in answers) * 1000,
            "first byte": median(answer.first_byte for answer in answers) * 1000,
        }

    async def _ask(self, run: Run, expected: Answer, count: int) -> list[Answer]:
        answers = await ask_many(
            run.proxy.port, self.request.raw, count=count, connections=self.connections
        )
        if any(len(answer.body) != len(expected.body) for answer in answers):
            raise WrongAnswerError(f"{run.proxy.subject.name} has changed a body")
        return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWithTools(Load):
    """A request that is sent many times, with central tools offered and none called."""

    async def run(self, run: Run) -> Measures:
        """Send the requests and return the cost of offering tools, and of the edit alone."""
        if run.proxy.subject is not WITH_TOOLS:
            return await self.run_as(run, self.request)
        tools = await central_tools()
        await _wait_for_tools(run)
        measures = await self.run_as(run, Asked(body=edited(self.request.body, tools)))
        without = run.before[ADDON.name]["CPU"]
        return measures | {
            "CPU of the tools": measures["CPU"] - without,
            "CPU of the edit": edit_seconds(self.request.body, tools) * 1000,
        }


async def _wait_for_tools(run: Run) -> None:
    deadline = time.monotonic() + START_S
    while int((await ask_once(run.proxy.port, OFFERED.raw)).body) < COUNT:
        if time.monotonic() > deadline:
            raise WrongAnswerError("the tools are not offered")
        await asyncio.sleep(0.1)


def _recorded(proxy: Proxy) -> int:
    """Count the responses whose tokens are in the database."""
    if not proxy.database.exists():
        return 0
    with sqlite3.connect(proxy.database) as db:
        (count,) = db.execute("SELECT count(*) FROM aibridge_token_usages").fetchone()
    return int(count)


# --- many at once, and for long

_STREAMS_AT_ONCE = 50


async def measure_paced(run: Run) -> Measures:
    await ask_many(run.proxy.port, STREAM_COALESCED.raw, count=40, connections=4)
    await asyncio.sleep(SETTLE_S)
    cpu = run.proxy.cpu_seconds()
    answers = await ask_at_once(
        run.proxy.port, STAMPED.raw, streams=_STREAMS_AT_ONCE, spread_s=PACE_S * 30
    )
    await asyncio.sleep(SETTLE_S)
    cpu = run.proxy.cpu_seconds() - cpu
    lags = [lag * 1000 for answer in answers for lag in answer.lags]
    if len(lags) != _STREAMS_AT_ONCE * STAMPED_EVENTS:
        raise WrongAnswerError(f"{len(lags)} events came, not {_STREAMS_AT_ONCE * STAMPED_EVENTS}")
    return {
        "CPU": cpu / _STREAMS_AT_ONCE * 1000,
        "first byte": median(answer.first_byte for answer in answers) * 1000,
        "lag": median(lags),
        "lag, p95": quantiles(lags, n=20)[-1],
    }


async def measure_open_streams(run: Run) -> Measures:
    await ask_many(run.proxy.port, SMALL.raw, count=200, connections=4)
    await asyncio.sleep(SETTLE_MEMORY_S)
    idle = run.proxy.memory_kib()
    streams = run.count(1000)
    opened = await open_streams(run.proxy.port, HELD.raw, streams=streams)
    try:
        deadline = time.monotonic() + 30
        while int((await ask_once(run.upstream_port, HOLDING.raw)).body) < streams:
            if time.monotonic() > deadline:
                raise WrongAnswerError("not all streams were opened")
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_MEMORY_S)
        memory = run.proxy.memory_kib()
    finally:
        for connection in opened:
            connection.close()
    while int((await ask_once(run.upstream_port, HOLDING.raw)).body):
        await asyncio.sleep(0.1)
    return {"memory": memory / 1024, "idle": idle / 1024, "a stream": (memory - idle) / streams}


async def measure_growth(run: Run) -> Measures:
    n = run.count(10_000)
    await ask_many(run.proxy.port, SMALL.raw, count=n // 10, connections=8)
    await asyncio.sleep(SETTLE_MEMORY_S)
    before = run.proxy.memory_kib()
    asked = 0
    deadline = time.monotonic() + GROWTH_S
    while asked < n and time.monotonic() < deadline:
        asked += len(await ask_many(run.proxy.port, SMALL.raw, count=n // 20, connections=8))
    await asyncio.sleep(SETTLE_MEMORY_S)
    return {"growth": (run.proxy.memory_kib() - before) / asked, "requests": asked}
