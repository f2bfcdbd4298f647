"""What the benchmark measures: scenarios, and the rows of its table with their bounds.

A scenario loads one proxy once and returns measures by name; `bench.py` does that for each subject
in turn, again and again. Answers are compared with what the upstream itself sends: a proxy that
loses a byte is not measured, it stops the run.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from bench_load import Answer, WrongAnswerError, ask_at_once, ask_many, ask_once, open_streams
from bench_subjects import COMMAND, Proxy
from bench_upstream import PACE_S, STAMPED_EVENTS

type Measures = dict[str, float]

SETTLE_S = 0.05
"""What a proxy still does after its last byte belongs to what it did."""
SETTLE_MEMORY_S = 1.5
GROWTH_S = 20.0
"""A slow machine does not get to 10,000 requests; the growth of one shows all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    measure: str
    unit: str
    base: str | None = None
    """The subject that the addon is compared with, by the ratio of the two in each round."""
    bound: float | None = None
    """Of the ratio; without a `base`, of the value."""
    own_bounds: Mapping[str, float] = field(default_factory=dict)
    """By subject, for those with a bound of their own."""
    within_noise: bool = False
    """The bound is what the base itself varies between rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of load."""

    name: str
    title: str
    rows: tuple[Row, ...]
    run: Callable[["Run"], Awaitable[Measures]]
    seconds: float
    """Rounds go on for so long; few are worth little."""
    fresh: bool = False
    """Whether each round takes new processes, as memory does."""
    leave_out: tuple[str, ...] = ()
    """Subjects that tell nothing here and would cost time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One round of one scenario with one proxy."""

    proxy: Proxy
    upstream_port: int
    quick: bool

    def count(self, count: int) -> int:
        """Return how many, or fewer if the run is to be quick."""
        return max(count // 5, 1) if self.quick else count


# --- requests, as Claude Code and Anthropic's SDK send them

_HEADERS = """\
POST /v1/messages?beta=true HTTP/1.1
host: 127.0.0.1
accept: application/json
accept-encoding: identity
anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14
anthropic-dangerous-direct-browser-access: true
anthropic-version: 2023-06-01
content-type: application/json
user-agent: claude-cli/2.1.0 (external, cli)
x-api-key: sk-ant-api03-benchmark-benchmark-benchmark
x-app: cli
x-claude-code-session-id: 01234567-89ab-cdef-0123-456789abcdef
x-stainless-arch: x64
x-stainless-lang: js
x-stainless-os: Linux
x-stainless-package-version: 0.70.0
x-stainless-retry-count: 0
x-stainless-runtime: node
x-stainless-runtime-version: v24.3.0
x-stainless-timeout: 600
"""


def _request(body: dict[str, Any], special: str = "") -> bytes:
    encoded = json.dumps({"model": "claude-standin-1", "max_tokens": 1024, **body}).encode()
    head = _HEADERS + f"content-length: {len(encoded)}\n"
    if special:
        head += f"x-bench: {special}\n"
    return head.replace("\n", "\r\n").encode() + b"\r\n" + encoded


def _asking(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


_KIB_100 = 100 * 1024
_PROSE = "The quick brown fox reads the whole file, and then it says what it found there. "


def _conversation(size: int) -> dict[str, Any]:
    """Return the body of a request in the middle of an agent's work, of so many bytes."""
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": _PROSE}}}
    tools = [
        {"name": f"tool_{n}", "description": _PROSE * 8, "input_schema": schema} for n in range(20)
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What does this project do?"}]
    for number in range(15):
        call = {
            "type": "tool_use",
            "id": f"toolu_{number}",
            "name": "tool_1",
            "input": {"path": "a"},
        }
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": _PROSE * 40}
        messages.append({"role": "assistant", "content": [call]})
        messages.append({"role": "user", "content": [result]})
    messages.append({"role": "assistant", "content": [{"type": "text", "text": _PROSE}]})
    messages.append({"role": "user", "content": "Thank you. And what does it cost?"})
    body = {"system": [{"type": "text", "text": ""}], "messages": messages, "tools": tools}
    body["system"][0]["text"] = (_PROSE * 1000)[: size - len(json.dumps(body)) - 60]
    return body


SMALL = _request(_asking("Hello"))
LARGE = _request(_conversation(_KIB_100))
STREAM = _request(_asking("LONG:194", stream=True))
"""200 events: what is not a delta makes six."""
STREAM_COALESCED = _request(_asking("LONG:194", stream=True), special="coalesced")
STREAM_ONE_BY_ONE = _request(_asking("LONG:194 PACE:1", stream=True))
STAMPED = _request(_asking("Hello", stream=True), special="stamped")
HELD = _request(_asking("Hello", stream=True), special="held")
HOLDING = _request({}, special="holding")


# --- scenarios


def _load(request: bytes, *, count: int, connections: int) -> Callable[[Run], Awaitable[Measures]]:
    """Return a scenario that sends a request many times and takes the CPU of each."""

    async def run(run: Run) -> Measures:
        expected = await ask_once(run.upstream_port, request)
        await _ask(run, request, expected, run.count(count) // 20 + 1, connections)
        n = run.count(count)
        recorded = _recorded(run.proxy)
        cpu = run.proxy.cpu_seconds()
        answers = await _ask(run, request, expected, n, connections)
        await asyncio.sleep(SETTLE_S)
        cpu = run.proxy.cpu_seconds() - cpu
        if run.proxy.subject.records and _recorded(run.proxy) - recorded != n:
            raise WrongAnswerError(f"{_recorded(run.proxy) - recorded} of {n} were recorded")
        return {
            "CPU": cpu / n * 1000,
            "time": median(answer.total for answer in answers) * 1000,
            "first byte": median(answer.first_byte for answer in answers) * 1000,
        }

    return run


async def _ask(
    run: Run, request: bytes, expected: Answer, count: int, connections: int
) -> list[Answer]:
    answers = await ask_many(run.proxy.port, request, count=count, connections=connections)
    if any(len(answer.body) != len(expected.body) for answer in answers):
        raise WrongAnswerError(f"{run.proxy.subject.name} has changed a body")
    return answers


def _recorded(proxy: Proxy) -> int:
    """Count the responses whose tokens are in the database."""
    if not proxy.database.exists():
        return 0
    with sqlite3.connect(proxy.database) as db:
        return db.execute("SELECT count(*) FROM aibridge_token_usages").fetchone()[0]


_STREAMS_AT_ONCE = 50


async def _paced(run: Run) -> Measures:
    await ask_many(run.proxy.port, STREAM_COALESCED, count=40, connections=4)
    answers = await ask_at_once(
        run.proxy.port, STAMPED, streams=_STREAMS_AT_ONCE, spread_s=PACE_S * 30
    )
    lags = [lag * 1000 for answer in answers for lag in answer.lags]
    if len(lags) != _STREAMS_AT_ONCE * STAMPED_EVENTS:
        raise WrongAnswerError(f"{len(lags)} events came, not {_STREAMS_AT_ONCE * STAMPED_EVENTS}")
    return {
        "first byte": median(answer.first_byte for answer in answers) * 1000,
        "lag": median(lags),
        "lag, p95": quantiles(lags, n=20)[-1],
    }


async def _open_streams(run: Run) -> Measures:
    await ask_many(run.proxy.port, SMALL, count=200, connections=4)
    await asyncio.sleep(SETTLE_MEMORY_S)
    idle = run.proxy.memory_kib()
    streams = run.count(1000)
    opened = await open_streams(run.proxy.port, HELD, streams=streams)
    try:
        deadline = time.monotonic() + 30
        while int((await ask_once(run.upstream_port, HOLDING)).body) < streams:
            if time.monotonic() > deadline:
                raise WrongAnswerError("not all streams were opened")
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_MEMORY_S)
        memory = run.proxy.memory_kib()
    finally:
        for connection in opened:
            connection.close()
    while int((await ask_once(run.upstream_port, HOLDING)).body):
        await asyncio.sleep(0.1)
    return {"memory": memory / 1024, "idle": idle / 1024, "a stream": (memory - idle) / streams}


async def _growth(run: Run) -> Measures:
    n = run.count(10_000)
    await ask_many(run.proxy.port, SMALL, count=n // 10, connections=8)
    await asyncio.sleep(SETTLE_MEMORY_S)
    before = run.proxy.memory_kib()
    asked = 0
    deadline = time.monotonic() + GROWTH_S
    while asked < n and time.monotonic() < deadline:
        asked += len(await ask_many(run.proxy.port, SMALL, count=n // 20, connections=8))
    await asyncio.sleep(SETTLE_MEMORY_S)
    return {"growth": (run.proxy.memory_kib() - before) / asked, "requests": asked}


_TIME = Row(measure="time", unit="ms", base="bare")


def _request_rows(of_command: float) -> tuple[Row, ...]:
    own = {COMMAND.name: of_command}
    return (Row(measure="CPU", unit="ms", base="bare", bound=1.35, own_bounds=own), _TIME)


_STREAM_ROWS = (
    Row(measure="CPU", unit="ms", base="streams", bound=1.20),
    Row(measure="first byte", unit="ms", base="streams"),
)

SCENARIOS = (
    Scenario(
        name="small",
        title="small JSON, 8 connections",
        rows=_request_rows(0.90),
        run=_load(SMALL, count=300, connections=8),
        seconds=28,
    ),
    Scenario(
        name="small-serial",
        title="small JSON, one after the other",
        rows=_request_rows(0.90),
        run=_load(SMALL, count=150, connections=1),
        seconds=18,
    ),
    Scenario(
        name="large",
        title="100 KB request, 8 connections",
        rows=_request_rows(1.0),
        run=_load(LARGE, count=200, connections=8),
        seconds=26,
    ),
    Scenario(
        name="stream",
        title="200 events, in a burst",
        rows=_STREAM_ROWS,
        run=_load(STREAM, count=80, connections=4),
        seconds=28,
    ),
    Scenario(
        name="stream-coalesced",
        title="200 events, 20 in a chunk",
        rows=_STREAM_ROWS,
        run=_load(STREAM_COALESCED, count=120, connections=4),
        seconds=16,
    ),
    Scenario(
        name="stream-one-by-one",
        title="200 events, one by one",
        rows=_STREAM_ROWS,
        run=_load(STREAM_ONE_BY_ONE, count=30, connections=5),
        seconds=24,
    ),
    Scenario(
        name="paced",
        title="50 paced streams at once",
        rows=(
            Row(measure="first byte", unit="ms", base="streams", within_noise=True),
            Row(measure="lag", unit="ms", base="streams", within_noise=True),
            Row(measure="lag, p95", unit="ms", base="streams"),
        ),
        run=_paced,
        leave_out=("bare",),
        seconds=20,
    ),
    Scenario(
        name="open",
        title="1,000 open streams",
        rows=(
            Row(measure="memory", unit="MiB", base="streams", bound=1.25),
            Row(measure="a stream", unit="KiB", base="streams"),
            Row(measure="idle", unit="MiB", base="streams"),
        ),
        run=_open_streams,
        leave_out=("bare",),
        seconds=1,
        fresh=True,
    ),
    Scenario(
        name="growth",
        title="10,000 requests",
        rows=(Row(measure="growth", unit="KiB/request", bound=3.0),),
        run=_growth,
        leave_out=("streams",),
        seconds=1,
        fresh=True,
    ),
)
"""A new scenario goes here."""
