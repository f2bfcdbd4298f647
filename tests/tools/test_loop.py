"""Inner loop, with an upstream and tools that the test scripts.

The wire format is real; the other parts are tested end to end.
"""

import asyncio
import json
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats import FORMATS, openai_chat
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.formats.openai_chat.tools import ChatTools
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    Restoration,
    ToolFormat,
    run_key,
)
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import JSON, members
from aibridge_addon.tools import waiting
from aibridge_addon.tools.attempts import Attempt, Attempts
from aibridge_addon.tools.loop import OVER_LIMIT, InnerLoop, Limits, LoopInput
from aibridge_addon.tools.upstream import UpstreamResponse

OVER_LIMIT_MESSAGE = (
    "aibridge: tool-call limit reached: 4 responses in a row called tools;"
    " raise `aibridge_tool_iterations` or `aibridge_tool_loop_seconds`."
)

CHAT_TOOLS = ChatTools()
BOUND = 20.0
"""Seconds after which a wait fails."""


@pytest.fixture(autouse=True, params=["lazy", "eager"])
async def task_factory(request: pytest.FixtureRequest) -> None:
    """Start tasks lazily, as asyncio does, and eagerly, as mitmproxy does."""
    if request.param == "eager":
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)


@pytest.fixture(autouse=True)
async def nothing_runs_on() -> AsyncGenerator[None]:
    """Assert that all tasks of the loop have ended."""
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


TOOLS = [
    CentralTool(
        name=f"bmcp_s_{name}",
        server="s",
        server_url="https://mcp.example/",
        original_name=name,
        description="",
        input_schema={"type": "object"},
    )
    for name in ("look", "find")
]
NAMES = frozenset(tool.name for tool in TOOLS)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Where?"}]}


def result(said: str) -> ToolResult:
    return ToolResult(parts=(ResultPart(kind="text", text=said),))


def call(call_id: str, name: str = "bmcp_s_look", given: str = '{"at":"it"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}


OWN = call("own", "Bash")


def completion(
    content: str | None, *calls: dict[str, Any], response_id: str = "r1"
) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)  # type: ignore[assignment]
    finish = "tool_calls" if calls else "stop"
    return {"id": response_id, "choices": [{"message": message, "finish_reason": finish}]}


def events_of(completion: Mapping[str, Any]) -> list[Event]:
    """Return a completion as chunks."""
    [choice] = completion["choices"]
    delta = dict(choice["message"])
    calls = [{"index": n, **c} for n, c in enumerate(delta.pop("tool_calls", ()))]
    deltas = [delta, {"tool_calls": calls}, {}] if calls else [delta, {}]
    chunks = [
        {"id": completion["id"], "choices": [{"delta": d, "finish_reason": None}]} for d in deltas
    ]
    chunks[-1]["choices"][0]["finish_reason"] = choice["finish_reason"]
    stream = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    return SSEParser().feed(stream + b"data: [DONE]\n\n")


class Script:
    """An upstream response, and its faults."""

    def __init__(
        self,
        completion: Mapping[str, Any],
        *,
        head: Exception | asyncio.Event | None = None,
        broken_off: bool = False,
        ends_early: bool = False,
        events: Iterable[bytes] = (),
        body: bytes | None = None,
    ) -> None:
        self.completion = completion
        self.head_waits_for = head
        self.broken_off = broken_off
        self.events = events_of(completion)[: 1 if broken_off or ends_early else None]
        self.events += SSEParser().feed(b"".join(events))
        self.whole = json.dumps(completion).encode() if body is None else body


class FakeResponse:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._reader = openai_chat.FORMAT.reader()
        self._whole: ResponseFacts | None = None

    async def head(self) -> None:
        match self._script.head_waits_for:
            case asyncio.Event() as event:
                await event.wait()
            case Exception() as error:
                raise error

    async def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        for event in self._script.events:
            yield [(event, self._reader.feed(event))]
        if self._script.broken_off:
            raise UpstreamError("it broke off", error_type="upstream_error")

    async def body(self) -> bytes:
        await self.head()
        self._whole = openai_chat.FORMAT.read_whole(self._script.whole)
        return self._script.whole

    def facts(self) -> ResponseFacts:
        return self._whole or self._reader.facts()


async def nothing(scope: str, keys: Collection[str]) -> dict[str, str]:
    return {}


class NamedByTheirIds(ChatTools):
    """Chat Completions with responses that later requests name by id."""

    def alias_key(self, response_id: str) -> str:
        return f"response:{response_id}"


class World:
    """The upstream, tools and observer of a loop; `events` has all events, in order."""

    def __init__(self, *scripts: Script | Mapping[str, Any]) -> None:
        self.first, *self.scripts = (
            s if isinstance(s, Script) else Script(s) for s in scripts
        )  # fmt: skip
        self.requests: list[Any] = []
        self.open = 0
        self.events: list[tuple[Any, ...]] = []
        self.hidden_turns: dict[str, Restoration] = {}
        self.tool: Callable[[Mapping[str, JSON]], Awaitable[ToolResult]] = self._find
        self.called: list[Mapping[str, JSON]] = []
        self.has_duration: dict[str, bool] = {}
        self.cancelled = 0
        nowhere = Attempts(remember=lambda turns: None, find=nothing)
        self.attempt = Attempt("digest", nowhere)

    async def _find(self, arguments: Mapping[str, JSON]) -> ToolResult:
        return result(f"found {json.dumps(arguments)}")

    async def call_tool(self, tool: CentralTool, arguments: Mapping[str, JSON]) -> ToolResult:
        self.called.append(arguments)
        try:
            return await self.tool(arguments)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def send(self, request: Members) -> AbstractAsyncContextManager[UpstreamResponse]:
        self.requests.append({k: json.loads(bytes(v)) for k, v in request.items()})
        self.events.append(("asked", len(self.requests) + 1))
        return self._asking(self.scripts[len(self.requests) - 1])

    @asynccontextmanager
    async def _asking(self, script: Script) -> AsyncGenerator[UpstreamResponse]:
        self.open += 1
        try:
            yield FakeResponse(script)
        finally:
            self.open -= 1

    def response_ended(self, facts: ResponseFacts) -> None:
        self.events.append(("answered", facts.response_id))

    def invoked(
        self,
        tool: CentralTool,
        call: InjectedCall,
        result: ToolResult,
        response_id: str | None,
        seconds: float | None,
    ) -> None:
        self.has_duration[call.call_id] = seconds is not None
        self.events.append(
            (
                "invoked",
                tool.original_name,
                call.call_id,
                result.as_text,
                result.is_error,
                response_id,
            )
        )

    def hidden(self, key: str, restoration: Restoration) -> None:
        self.events.append(("hidden", key))
        self.hidden_turns[key] = restoration

    def hid_nothing(self, key: str) -> None:
        self.events.append(("hid nothing", key))

    def loop(self, *, tool_format: ToolFormat = CHAT_TOOLS, **limits: float) -> InnerLoop:
        asked = members(json.dumps(ASKED).encode())
        assert asked is not None
        return InnerLoop(
            LoopInput(
                tool_format=tool_format,
                request=asked,
                offered=TOOLS,
                preceding_text="Where?",
                attempt=self.attempt,
            ),
            send=self.send,
            call_tool=self.call_tool,
            observer=self,
            limits=Limits(**({"iterations": 5, "seconds": 60.0} | limits)),  # type: ignore[arg-type]
        )


class Client:
    """Consumes the loop of a streamed response as the proxy does."""

    def __init__(self, world: World, **loop: Any) -> None:
        self.world = world
        self.loop = world.loop(**loop)
        self.splicer = CHAT_TOOLS.splicer(self.loop.names)
        reader = openai_chat.FORMAT.reader()
        self.chunks = [self.splicer.feed(e, reader.feed(e)) for e in world.first.events]
        self._stream = self.loop.stream(self.splicer, reader.facts())

    async def next(self) -> bytes | None:
        async with asyncio.timeout(BOUND):
            chunk = await anext(self._stream, None)
        self.chunks += [chunk] if chunk else []
        return chunk

    async def run(self) -> str:
        """Consume all chunks; return the text that the client has received."""
        while await self.next() is not None:
            pass
        if self.loop.error is None:
            self.chunks.append(self.splicer.finish())
        return self.text

    async def leave(self) -> None:
        await self._stream.aclose()

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.json()
            for choice in chunk.get("choices", ())
        )

    def json(self) -> Iterator[Any]:
        for event in SSEParser().feed(b"".join(self.chunks)):
            if event.data not in (None, b"[DONE]"):
                yield json.loads(event.data)


async def run_buffered(world: World, **loop: Any) -> tuple[InnerLoop, Any]:
    """Run the loop of a buffered response; return it with the client's response."""
    inner = world.loop(**loop)
    first = world.first.whole
    async with asyncio.timeout(BOUND):
        given = await inner.run_buffered(first, openai_chat.FORMAT.read_whole(first))
    return inner, None if given is None else json.loads(given)


LOOKING = completion("Looking. ", call("c1"))
DONE = completion("Done.", response_id="r2")
KEY = run_key([], "Where?", "Looking. Done.")


async def test_response_without_calls_starts_no_loop() -> None:
    world = World(completion("Hi."))
    client = Client(world)
    assert await client.next() is None
    assert await client.run() == "Hi."
    assert world.events == []


async def test_response_without_calls_starts_no_loop_when_buffered() -> None:
    world = World(completion("Hi."))
    _, given = await run_buffered(world)
    assert given is None
    assert world.events == [("hid nothing", run_key([], "Where?", "Hi."))]


async def test_buffered_response_without_calls_ends_the_loop_undecoded() -> None:
    facts = openai_chat.FORMAT.read_whole(json.dumps(completion("Hi.")).encode())
    called = openai_chat.FORMAT.read_whole(json.dumps(LOOKING).encode())
    loop = World(DONE).loop()
    assert loop.end_without_calls(facts)
    assert loop.facts == facts
    assert not World(DONE).loop().end_without_calls(called)
    responses = FORMATS["openai_responses"].tools
    assert responses
    echoing = World(DONE).loop(tool_format=responses)
    assert not echoing.end_without_calls(facts), "its tools must be cut from the response"


async def test_response_with_only_client_calls_starts_no_loop() -> None:
    world = World(completion("Hi.", OWN))
    await Client(world).run()
    assert world.events == [("hid nothing", run_key(["own"], "Where?", "Hi."))]


EVENTS = [
    ("invoked", "look", "c1", 'found {"at": "it"}', False, "r1"),
    ("answered", "r1"),
    ("asked", 2),
    ("hidden", KEY),
]


async def test_call_is_run_and_model_is_asked_again_when_streaming() -> None:
    world = World(LOOKING, DONE)
    client = Client(world)
    assert await client.run() == "Looking. Done."
    assert world.events == EVENTS
    assert client.loop.facts.response_id == "r2"
    assert client.loop.facts.complete
    assert client.loop.error is None
    assert world.open == 0


async def test_call_is_run_and_model_is_asked_again_when_buffered() -> None:
    world = World(LOOKING, DONE)
    loop, given = await run_buffered(world)
    assert given["choices"][0]["message"]["content"] == "Looking. Done."
    assert given["id"] == "r1"
    assert world.events == EVENTS
    assert loop.facts.response_id == "r2"


async def test_next_request_has_the_turn_and_its_result() -> None:
    world = World(LOOKING, DONE)
    await run_buffered(world)
    turn = LOOKING["choices"][0]["message"]
    found = {"role": "tool", "tool_call_id": "c1", "content": 'found {"at": "it"}'}
    assert world.requests == [{**ASKED, "messages": [*ASKED["messages"], turn, found]}]
    final = DONE["choices"][0]["message"]
    assert world.hidden_turns == {KEY: Restoration(sequence=(turn, found, final))}


async def test_text_of_later_responses_is_streamed_to_the_client() -> None:
    world = World(LOOKING, DONE)
    client = Client(world)
    while client.text != "Looking. Done.":
        assert await client.next() is not None
    assert world.open == 1, "the response has not ended"
    await client.leave()
    assert world.open == 0


async def test_calls_run_in_parallel_and_results_keep_their_order() -> None:
    world = World(
        completion(None, call("c1", given='{"n":1}'), call("c2", "bmcp_s_find", '{"n":2}')), DONE
    )
    second_is_done = asyncio.Event()

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        if arguments["n"] == 2:
            second_is_done.set()
        await second_is_done.wait()  # the first ends only after the second has begun
        return result(f"{arguments['n']}")

    world.tool = tool
    await Client(world).run()
    [request] = world.requests
    assert [(m["tool_call_id"], m["content"]) for m in request["messages"][-2:]] == [
        ("c1", "1"),
        ("c2", "2"),
    ]
    assert {event[2] for event in world.events if event[0] == "invoked"} == {"c1", "c2"}
    assert {event[1] for event in world.events if event[0] == "invoked"} == {"look", "find"}


@pytest.mark.parametrize("given", ['{"a', "[]", "1", '"x"', "null"])
async def test_invalid_arguments_are_reported_to_the_model(given: str) -> None:
    world = World(completion(None, call("c1", given=given)), DONE)
    await Client(world).run()
    assert world.called == []
    assert world.events[0][3:5] == ("The arguments are not a JSON object.", True)
    assert "not a JSON object" in world.requests[0]["messages"][-1]["content"]


async def test_missing_arguments_are_an_empty_object() -> None:
    world = World(completion(None, call("c1", given="")), DONE)
    await Client(world).run()
    assert world.called == [{}]


# Turns with calls of the client


MIXED = completion("Both.", call("c1"), OWN)


async def test_turn_with_client_calls_ends_the_loop_when_streaming() -> None:
    world = World(MIXED)
    client = Client(world)
    assert await client.run() == "Both."
    shown = [c for chunk in client.json() for x in chunk["choices"]
             for c in x["delta"].get("tool_calls", ())]  # fmt: skip
    assert [c["id"] for c in shown] == ["own"]
    assert world.requests == []
    assert world.events == [EVENTS[0], ("hidden", "call:own")]
    turn = MIXED["choices"][0]["message"]
    found = {"role": "tool", "tool_call_id": "c1", "content": 'found {"at": "it"}'}
    assert world.hidden_turns == {"call:own": Restoration(sequence=(turn,), results=(found,))}


async def test_turn_with_client_calls_ends_the_loop_when_buffered() -> None:
    world = World(LOOKING, {**MIXED, "id": "r2"})
    loop, given = await run_buffered(world)
    assert [c["id"] for c in given["choices"][0]["message"]["tool_calls"]] == ["own"]
    assert [event[0] for event in world.events] == [
        "invoked",
        "answered",
        "asked",
        "invoked",
        "hidden",
    ]
    restoration = world.hidden_turns["call:own"]
    assert len(restoration.sequence) == 3
    assert len(restoration.results) == 1
    assert loop.facts.response_id == "r2"


async def test_turn_with_only_client_calls_ends_the_loop() -> None:
    world = World(LOOKING, completion(None, OWN, response_id="r2"))
    await Client(world).run()
    assert world.events == [*EVENTS[:3], ("hidden", "call:own")]
    assert world.hidden_turns["call:own"].results == ()


async def test_response_of_several_turns_is_stored_under_its_first_id() -> None:
    named = NamedByTheirIds()
    world = World(LOOKING, DONE)
    await run_buffered(world, tool_format=named)
    assert world.hidden_turns["response:r1"] == Restoration(sequence=("r2",))
    assert set(world.hidden_turns) == {KEY, "response:r1"}
    world = World(MIXED)
    await run_buffered(world, tool_format=named)
    assert set(world.hidden_turns) == {"call:own"}, "the id is the right one as it is"


async def test_truncated_call_is_not_stored() -> None:
    cut = completion("Half", call("c2", given='{"a'), response_id="r2")
    cut["choices"][0]["finish_reason"] = "length"
    for run in (lambda world: Client(world).run(), run_buffered):
        world = World(LOOKING, cut)
        await run(world)
        [restoration] = world.hidden_turns.values()
        assert restoration.sequence[-1] == {"role": "assistant", "content": "Half"}
        assert len(world.called) == 1


async def test_buffered_response_does_not_show_a_truncated_call() -> None:
    cut = completion("Half", call("c1", given='{"a'))
    cut["choices"][0]["finish_reason"] = "length"
    _, given = await run_buffered(World(cut))
    assert given["choices"][0]["message"] == {"role": "assistant", "content": "Half"}


# Limits


def calling(count: int) -> list[dict[str, Any]]:
    return [completion(f"{n}.", call(f"c{n}"), response_id=f"r{n}") for n in range(1, count + 1)]


async def test_calls_are_run_up_to_the_iteration_limit() -> None:
    world = World(*calling(2), completion("Done.", response_id="r3"))
    assert await Client(world, iterations=2).run() == "1.2.Done."
    assert len(world.called) == 2
    assert not any("tool_choice" in request for request in world.requests)


async def test_model_is_told_of_the_limit_and_responds_without_calls() -> None:
    world = World(*calling(3), completion("Done.", response_id="r4"))
    client = Client(world, iterations=2)
    assert await client.run() == "1.2.3.Done."
    assert len(world.called) == 2
    events = "No more tool calls are allowed. Answer with what you have."
    assert ("invoked", "look", "c3", events, True, "r3") in world.events
    assert world.has_duration == {"c1": True, "c2": True, "c3": False}
    assert events in world.requests[-1]["messages"][-1]["content"]
    assert [r.get("tool_choice") for r in world.requests] == [None, None, "none"]
    assert client.loop.error is None


async def test_model_that_calls_beyond_the_limit_ends_with_an_error_when_streaming() -> None:
    world = World(*calling(4))
    client = Client(world, iterations=2)
    assert await client.run() == "1.2.3.4."
    assert client.loop.error == ProviderError(type=OVER_LIMIT, message=OVER_LIMIT_MESSAGE)
    [error] = [chunk["error"] for chunk in client.json() if "error" in chunk]
    assert error["message"] == client.loop.error.message
    assert len(world.called) == 2
    assert world.hidden_turns == {}, "the response has calls without results"


async def test_model_that_calls_beyond_the_limit_ends_with_an_error_when_buffered() -> None:
    world = World(*calling(4))
    with pytest.raises(UpstreamError, match="4 responses in a row called tools") as raised:
        await run_buffered(world, iterations=2)
    assert raised.value.error_type == OVER_LIMIT
    assert world.hidden_turns == {}


async def test_no_call_is_run_after_the_time_limit_of_the_loop() -> None:
    world = World(LOOKING, DONE)
    assert await Client(world, seconds=-1.0).run() == "Looking. Done."
    assert world.called == []
    assert world.requests[0]["tool_choice"] == "none"


async def test_call_is_cancelled_at_the_time_limit_of_the_loop() -> None:
    world = World(LOOKING, DONE)

    async def forever(arguments: Mapping[str, JSON]) -> ToolResult:
        await asyncio.Event().wait()
        raise AssertionError

    world.tool = forever
    assert await Client(world, seconds=0.05).run() == "Looking. Done."
    assert world.cancelled == 1
    assert world.events[0][3:5] == ("There was no time left for this call.", True)
    assert world.requests[0]["tool_choice"] == "none"


# Signs of life, and leaving


class Held:
    """A tool that waits."""

    def __init__(self, world: World) -> None:
        self.started = asyncio.Semaphore(0)
        self.may_end = asyncio.Event()
        world.tool = self

    async def __call__(self, arguments: Mapping[str, JSON]) -> ToolResult:
        self.started.release()
        await self.may_end.wait()
        return result("at last")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PING_SECONDS", 0)


@pytest.mark.usefixtures("impatient")
async def test_client_receives_pings_while_tools_run() -> None:
    world = World(LOOKING, DONE)
    held = Held(world)
    client = Client(world)
    ping = client.splicer.ping()
    assert [await client.next() for _ in range(3)] == [ping] * 3
    assert world.requests == []
    held.may_end.set()
    assert await client.run() == "Looking. Done."


@pytest.mark.usefixtures("impatient")
async def test_client_receives_pings_while_the_provider_is_silent() -> None:
    answers = asyncio.Event()
    world = World(LOOKING, Script(DONE, head=answers))
    client = Client(world)
    while not world.open:
        assert await client.next() == client.splicer.ping()
    assert await client.next() == client.splicer.ping()
    answers.set()
    assert await client.run() == "Looking. Done."


@pytest.mark.usefixtures("impatient")
async def test_closing_a_stream_cancels_all_tools() -> None:
    world = World(completion(None, call("c1"), call("c2"), call("c3")), DONE)
    held = Held(world)
    client = Client(world)
    for _ in range(3):
        await client.next()
        await held.started.acquire()
    await client.leave()
    assert world.cancelled == 3
    assert world.events == []


@pytest.mark.usefixtures("impatient")
async def test_closing_a_stream_cancels_the_upstream_request() -> None:
    world = World(LOOKING, Script(DONE, head=asyncio.Event()))
    client = Client(world)
    while not world.open:
        await client.next()
    await client.leave()
    assert world.open == 0


async def test_cancelling_a_waiting_stream_cancels_all_tools() -> None:
    world = World(completion(None, call("c1"), call("c2")), DONE)
    held = Held(world)
    task = asyncio.ensure_future(Client(world).run())
    for _ in range(2):
        await held.started.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.cancelled == 2


@pytest.mark.parametrize("where", ["tools", "provider"])
async def test_cancelling_a_buffered_response_cancels_everything(where: str) -> None:
    world = World(completion(None, call("c1"), call("c2")), Script(DONE, head=asyncio.Event()))
    held = Held(world)
    task = asyncio.ensure_future(run_buffered(world))
    for _ in range(2):
        await held.started.acquire()
    if where == "provider":
        held.may_end.set()
        async with asyncio.timeout(BOUND):
            while not world.open:
                await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.cancelled == (2 if where == "tools" else 0)
    assert world.open == 0


async def test_tool_that_raises_cancels_the_other_tools() -> None:
    world = World(completion(None, call("c1", given='{"n":1}'), call("c2", given='{"n":2}')), DONE)

    async def tool(arguments: Mapping[str, JSON]) -> ToolResult:
        if arguments["n"] == 2:
            raise LookupError("a bug")
        await asyncio.Event().wait()
        raise AssertionError

    world.tool = tool
    with pytest.raises(LookupError):
        await run_buffered(world)
    assert world.cancelled == 1


# Errors upstream


REFUSED = UpstreamError("Too busy.", error_type="overloaded_error", response="the response")
ERROR_CHUNK = b'data: {"error":{"message":"Gone.","code":"gone"}}\n\n'


@pytest.mark.parametrize(
    ("script", "kind", "message", "text"),
    [
        (Script(DONE, head=REFUSED), "overloaded_error", "Too busy.", "Looking. "),
        (Script(DONE, broken_off=True), "upstream_error", "it broke off", "Looking. Done."),
        (
            Script(DONE, ends_early=True),
            "stream_broken_off",
            "aibridge: the provider ended its response early.",
            "Looking. Done.",
        ),
        (
            Script(DONE, ends_early=True, events=[ERROR_CHUNK]),
            "gone",
            "Gone.",
            "Looking. Done.",
        ),
    ],
    ids=["refused", "broken off", "ended early", "an error in the stream"],
)
async def test_error_in_a_later_response_ends_the_stream(
    script: Script, kind: str, message: str, text: str
) -> None:
    world = World(LOOKING, script)
    client = Client(world)
    assert await client.run() == text
    assert client.loop.error == ProviderError(type=kind, message=message)
    errors = [chunk["error"]["message"] for chunk in client.json() if "error" in chunk]
    assert errors == [message], "events once"
    assert world.open == 0
    assert world.hidden_turns == {}
    assert [event[0] for event in world.events] == ["invoked", "answered", "asked"]


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (Script(DONE, head=REFUSED), "overloaded_error", "Too busy."),
        (
            Script(DONE, body=b"<html>"),
            "upstream_error",
            "aibridge: the provider's response cannot be read.",
        ),
        (Script(DONE, body=b'{"error":{"message":"Gone.","code":"gone"}}'), "gone", "Gone."),
    ],
    ids=["refused", "not readable", "an error"],
)
async def test_error_in_a_later_response_is_raised(script: Script, kind: str, message: str) -> None:
    world = World(LOOKING, script)
    loop = world.loop()
    first = world.first.whole
    with pytest.raises(UpstreamError) as raised:
        await loop.run_buffered(first, openai_chat.FORMAT.read_whole(first))
    assert (str(raised.value), raised.value.error_type) == (message, kind)
    assert loop.error == ProviderError(type=kind, message=message)
    assert world.open == 0
    assert world.hidden_turns == {}


async def test_upstream_error_has_the_response_of_the_provider() -> None:
    with pytest.raises(UpstreamError) as raised:
        await run_buffered(World(LOOKING, Script(DONE, head=REFUSED)))
    assert raised.value.response == "the response"


async def test_truncated_first_response_starts_no_loop() -> None:
    world = World(Script(LOOKING, ends_early=True))
    assert await Client(world).run() == "Looking. "
    world = World(Script(LOOKING, ends_early=True, events=[ERROR_CHUNK]))
    client = Client(world)
    await client.run()
    assert world.events == []
    assert b"".join(client.chunks).count(b"Gone.") == 1


async def test_stream_can_be_closed_at_any_moment() -> None:
    for taken in range(6):
        world = World(*calling(2), DONE)
        client = Client(world)
        async with aclosing(client._stream):
            for _ in range(taken):
                await client.next()
        assert world.open == 0
