"""Attempts: a repeated request continues from the calls that were run, so that none runs twice."""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from aibridge_addon.facts import HiddenTurns
from aibridge_addon.formats.central_tool import ToolResult
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import JSON, members
from aibridge_addon.tools import attempts as module
from aibridge_addon.tools import upstream
from aibridge_addon.tools.attempts import INTERRUPTED, Attempt, Attempts
from aibridge_addon.tools.upstream import pause_before_retry
from tools.test_loop import (
    ASKED,
    DONE,
    LOOKING,
    OWN,
    Client,
    Script,
    World,
    call,
    completion,
    nothing_runs_on,
    result,
    run_buffered,
    task_factory,
)

__all__ = ["nothing_runs_on", "task_factory"]

OVERLOADED = UpstreamError("Overloaded", error_type="overloaded_error", http_status=529)
MIXED = completion("Both. ", call("c1"), OWN)

each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "FIRST_PAUSE_SECONDS", 0.0)


class Store:
    """The hidden turns in a store, as a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], str] = {}
        self.asked = 0

    def remember(self, turns: HiddenTurns) -> None:
        self.rows[turns.scope, turns.key] = turns.content

    async def find(self, scope: str, keys: Collection[str]) -> dict[str, str]:
        self.asked += 1
        await asyncio.sleep(0)
        return {key: self.rows[scope, key] for key in keys if (scope, key) in self.rows}

    def attempts(self) -> Attempts:
        """Return the attempts of a process with this store."""
        return Attempts(remember=self.remember, find=self.find)


@pytest.fixture
def store() -> Store:
    return Store()


async def joined(attempts: Attempts, asked: Mapping[str, JSON] = ASKED) -> Attempt:
    request = members(json.dumps(asked).encode())
    assert request is not None
    return await attempts.join("scope", request)


async def sent(world: World, stream: bool) -> Any:
    """Send a request; return the text of its response, or the error that ended it."""
    if stream:
        client = Client(world)
        said = await client.run()
        return client.loop.error.type if client.loop.error else said
    try:
        _, given = await run_buffered(world)
    except UpstreamError as error:
        return error.error_type
    return (given or world.first.completion)["choices"][0]["message"]["content"]


def failing(times: int, error: UpstreamError = OVERLOADED) -> list[Script]:
    return [Script(DONE, head=error) for _ in range(times)]


# The loop tries again by itself


@each_delivery
@pytest.mark.parametrize(
    "error",
    [
        OVERLOADED,
        UpstreamError("Slow down", http_status=429, headers={"retry-after": "0"}),
        UpstreamError("Bad gateway", http_status=502),
        UpstreamError("refused", error_type="upstream_error", connection_failed=True),
    ],
    ids=["overloaded", "rate-limit", "bad-gateway", "no-connection"],
)
async def test_follow_up_request_is_retried_after_transient_errors(
    stream: bool, error: UpstreamError
) -> None:
    world = World(LOOKING, *failing(2, error), DONE)
    assert await sent(world, stream) == "Looking. Done."
    assert len(world.called) == 1
    assert world.requests[0] == world.requests[1] == world.requests[2]


def beginning_with(kind: str) -> Script:
    error = {"error": {"message": "Wait.", "type": kind}}
    script = Script(DONE, events=[b"data: %b\n\n" % json.dumps(error).encode()])
    script.events = script.events[-1:]
    return script


@pytest.mark.parametrize("kind", ["overloaded_error", "rate_limit_error", "server_error"])
async def test_stream_that_starts_with_a_transient_error_is_retried(kind: str) -> None:
    world = World(LOOKING, beginning_with(kind), DONE)
    assert await sent(world, stream=True) == "Looking. Done."
    assert len(world.called) == 1


async def test_stream_that_starts_with_a_permanent_error_ends_with_it() -> None:
    world = World(LOOKING, beginning_with("invalid_request_error"))
    client = Client(world)
    await client.run()
    assert b"invalid_request_error" in client.chunks[-1]
    assert len(world.requests) == 1


async def test_stream_ends_with_the_last_error_once_retries_are_used_up() -> None:
    world = World(LOOKING, *[beginning_with("overloaded_error")] * upstream.MAX_TRIES)
    client = Client(world)
    await client.run()
    assert b'"overloaded_error"' in client.chunks[-1]


@each_delivery
@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("too long", error_type="invalid_request_error", http_status=400),
        UpstreamError("Who?", error_type="authentication_error", http_status=401),
        UpstreamError("Pay!", error_type="insufficient_quota", http_status=429),
        UpstreamError("No!", error_type="no", http_status=503, headers={"x-should-retry": "false"}),
        UpstreamError("broke off", error_type="broken"),
    ],
    ids=str,
)
async def test_follow_up_request_is_not_retried_after_a_permanent_error(
    stream: bool, error: UpstreamError
) -> None:
    world = World(LOOKING, *failing(1, error))
    assert await sent(world, stream) == error.error_type
    assert len(world.requests) == 1


@each_delivery
async def test_retries_are_limited(stream: bool) -> None:
    world = World(LOOKING, *failing(upstream.MAX_TRIES))
    assert await sent(world, stream) == "overloaded_error"


PAUSES = [
    ({"retry-after": "3"}, 10.0, 3.0),
    ({"retry-after-ms": "1500"}, 10.0, 1.5),
    ({"retry-after-ms": "1500", "retry-after": "3"}, 10.0, 1.5),
    ({"retry-after": "30"}, 10.0, None),
    ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 10.0, 0.0),
    ({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}, 10.0, None),
    ({"retry-after": "soon"}, 10.0, 0.0),
    ({}, 0.0, None),
]


@pytest.mark.parametrize(("headers", "left", "pause"), PAUSES)
def test_pause_follows_retry_after_within_the_time_of_the_loop(
    headers: dict[str, str], left: float, pause: float | None
) -> None:
    error = UpstreamError("Slow down", http_status=429, headers=headers)
    assert pause_before_retry(error, 1, left) == pause


# The client tries again


@each_delivery
@pytest.mark.parametrize("again", [False, True], ids=["again-whole", "again-streamed"])
async def test_repeated_request_continues_from_the_results_of_the_failed_one(
    store: Store, stream: bool, again: bool
) -> None:
    attempts = store.attempts()
    first = World(LOOKING, *failing(upstream.MAX_TRIES))
    first.attempt = await joined(attempts, ASKED | {"stream": stream})
    assert await sent(first, stream) == "overloaded_error"
    second = World(DONE)
    second.attempt = await joined(attempts, ASKED | {"stream": again})
    assert second.loop().request == first.loop().request
    [_, turn, found] = json.loads(bytes(second.loop().request["messages"]))
    assert (turn["tool_calls"][0]["id"], found["content"]) == ("c1", 'found {"at": "it"}')
    assert await sent(second, again) == "Done."
    assert second.called == []


@each_delivery
async def test_hidden_turns_of_both_attempts_are_restored_later(store: Store, stream: bool) -> None:
    attempts = store.attempts()
    first = World(LOOKING, *failing(upstream.MAX_TRIES))
    first.attempt = await joined(attempts)
    await sent(first, stream)
    second = World(completion("Again. ", call("c2")), DONE)
    second.attempt = await joined(attempts)
    assert await sent(second, stream) == "Again. Done."
    [restoration] = second.hidden_turns.values()
    shown = [m.get("tool_call_id") or m["content"] for m in restoration.sequence]
    assert shown == ["Looking. ", "c1", "Again. ", "c2", "Done."]


@each_delivery
async def test_attempt_is_forgotten_once_a_client_has_its_response(
    store: Store, stream: bool
) -> None:
    attempts = store.attempts()
    for _ in range(2):
        world = World(LOOKING, DONE)
        world.attempt = await joined(attempts)
        assert await sent(world, stream) == "Looking. Done."
        assert len(world.called) == 1
    assert (await joined(store.attempts())).steps == []


async def test_call_interrupted_by_a_disconnect_is_not_run_again(store: Store) -> None:
    attempts = store.attempts()
    first = World(completion("Two. ", call("c1"), call("c2", given="{}")), DONE)
    first.attempt = await joined(attempts)
    started = asyncio.Event()

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        if arguments:
            return result("quick")
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    first.tool = tool
    leaving = asyncio.ensure_future(run_buffered(first))
    await started.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert first.cancelled == 1
    for again in (attempts, store.attempts()):
        [step] = (await joined(again)).steps
        assert [item["content"] for item in step.results] == [
            "quick",
            f"Error: {INTERRUPTED.as_text}",
        ]


async def test_call_interrupted_by_a_crash_is_not_run_again(store: Store) -> None:
    first = World(LOOKING, DONE)
    first.attempt = await joined(store.attempts())
    killed: list[dict[tuple[str, str], str]] = []

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        killed.append(dict(store.rows))
        return result("never heard of")

    first.tool = tool
    await run_buffered(first)
    store.rows = killed[0]
    [step] = (await joined(store.attempts())).steps
    assert step.results[0]["content"] == f"Error: {INTERRUPTED.as_text}"


@each_delivery
async def test_identical_parallel_requests_run_a_tool_once(store: Store, stream: bool) -> None:
    attempts = store.attempts()
    running = asyncio.Event()
    release = asyncio.Event()

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        running.set()
        await release.wait()
        return result("found")

    worlds = [World(LOOKING, DONE), World(completion("Hm. ", call("c9", given='{"at":"x"}')), DONE)]
    for world in worlds:
        world.tool = tool
        world.attempt = await joined(attempts)
    sending = [asyncio.ensure_future(sent(world, stream)) for world in worlds]
    await running.wait()
    release.set()
    assert await asyncio.gather(*sending) == ["Looking. Done.", "Hm. Done."]
    assert [len(world.called) for world in worlds] == [1, 0]
    assert worlds[0].requests == worlds[1].requests


async def test_call_continues_while_one_of_two_clients_waits_for_it(store: Store) -> None:
    attempts = store.attempts()
    release = asyncio.Event()

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        await release.wait()
        return result("found")

    worlds = [World(LOOKING, DONE), World(LOOKING, DONE)]
    sending = []
    for world in worlds:
        world.tool = tool
        world.attempt = await joined(attempts)
        sending.append(asyncio.ensure_future(sent(world, stream=True)))
    while sum(len(world.called) for world in worlds) == 0:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    sending[0].cancel()
    await asyncio.gather(sending[0], return_exceptions=True)
    assert worlds[0].cancelled == 0
    release.set()
    assert await sending[1] == "Looking. Done."
    assert worlds[1].called == []


@each_delivery
async def test_calls_beside_client_calls_are_not_run_again(store: Store, stream: bool) -> None:
    attempts = store.attempts()
    first = World(MIXED)
    first.attempt = await joined(attempts)
    with pytest.MonkeyPatch.context() as patched:  # its client leaves before the very end
        patched.setattr(Attempt, "succeed", lambda self: None)
        await sent(first, stream)
    for again in (attempts, store.attempts()):
        second = World(completion("Both again. ", call("c7"), call("c8"), OWN))
        second.attempt = await joined(again)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Attempt, "succeed", lambda self: None)
            await sent(second, stream)
        [restoration] = second.hidden_turns.values()
        assert [item["tool_call_id"] for item in restoration.results] == ["c7", "c8"]
        assert len(first.called) + len(second.called) <= 2
    assert second.called == [], "both were made by the attempts before"


async def test_attempt_that_fails_after_another_succeeded_stays_open(store: Store) -> None:
    attempts = store.attempts()
    worlds = [World(LOOKING, DONE), World(LOOKING, *failing(upstream.MAX_TRIES))]
    for world in worlds:
        world.attempt = await joined(attempts)
    lucky, unlucky = map(Client, worlds)
    assert await lucky.run() == "Looking. Done."
    await unlucky.run()
    assert unlucky.loop.error
    assert worlds[1].called == []
    for again in (attempts, store.attempts()):
        assert len((await joined(again)).steps) == 1


# What is the same request


SAME: list[dict[str, JSON]] = [
    {"stream": True, "stream_options": {"include_usage": True}},
    {"max_tokens": 5},
    {"metadata": {"user_id": "x"}},
]
OTHER: list[dict[str, JSON]] = [
    {"model": "n"},
    {"messages": []},
    {"temperature": 1},
    {"system": "x"},
]


async def test_members_that_clients_change_between_attempts_are_not_compared(
    store: Store,
) -> None:
    attempts = store.attempts()
    attempt = await joined(attempts)
    assert [await joined(attempts, ASKED | more) for more in SAME] == [attempt] * len(SAME)
    found = [await joined(attempts, ASKED | more) for more in OTHER]
    assert len({id(one) for one in [attempt, *found]}) == 1 + len(OTHER)


async def test_checksum_of_claude_code_is_not_compared(store: Store) -> None:
    attempts = store.attempts()
    billed = [{"system": f"x-anthropic-billing-header: v=1; cch={c};"} for c in ("a1", "b2")]
    first, second = [await joined(attempts, ASKED | more) for more in billed]
    assert first is second


async def test_attempts_are_separate_for_each_scope(store: Store) -> None:
    attempts = store.attempts()
    request = members(json.dumps(ASKED).encode())
    assert request is not None
    assert await attempts.join("a", request) is not await attempts.join("b", request)


# Bounds


async def test_expired_attempt_is_not_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = store.attempts()
    first = World(LOOKING, *failing(upstream.MAX_TRIES))
    first.attempt = await joined(attempts)
    await sent(first, stream=False)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    for again in (attempts, store.attempts()):
        assert (await joined(again)).steps == []


async def test_store_is_read_once_if_no_attempt_is_open(store: Store) -> None:
    attempts = store.attempts()
    for number in range(5):
        await joined(attempts, ASKED | {"seed": number})
    assert store.asked == 1


async def test_number_of_open_attempts_is_limited(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 3)
    attempts = store.attempts()
    first = await joined(attempts, ASKED | {"seed": 0})
    for number in range(1, 4):
        await joined(attempts, ASKED | {"seed": number})
    assert await joined(attempts, ASKED | {"seed": 0}) is not first


async def test_failing_store_does_not_fail_a_request() -> None:
    async def find(scope: str, keys: Collection[str]) -> dict[str, str]:
        raise OSError("away")

    attempts = Attempts(remember=lambda turns: None, find=find)
    assert (await joined(attempts)).steps == []
