"""The inner loop: runs the injected calls of a turn and asks again, until a turn has none.

It knows neither mitmproxy nor a wire format: those come in as `Ask` and `ToolFormat`. Whoever
consumes it may stop at any moment; what runs then is cancelled, tool calls included.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import (
    History,
    InjectedCall,
    Members,
    Restoration,
    Splicer,
    ToolFormat,
    Turn,
    call_arguments,
    run_key,
)
from aibridge_addon.raw_json import JSON, decode
from aibridge_addon.tools.model import CentralTool, ToolResult, error_result

PING_SECONDS = 8.0
"""Between signs of life to the client; it gives up after some minutes of silence."""
OVER_LIMIT = "tool_loop_limit"
"""The error type of a model that goes on calling tools when it was told that it may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one interception's inner loop."""

    iterations: int
    """Upstream answers that may have their calls run."""
    seconds: float
    """Of the whole loop."""


class Answer(Protocol):
    """One upstream answer, on its way."""

    async def head(self) -> None:
        """Wait for its head.

        Raises:
            UpstreamError: nobody answered, or it is an error.
        """

    def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Give the events of a streamed answer as they come, with their decoded data.

        Raises:
            UpstreamError: it broke off.
        """

    async def body(self) -> bytes:
        """Return the whole body of an answer that is not streamed.

        Raises:
            UpstreamError: nobody answered, it is an error, or it broke off.
        """

    def facts(self) -> ResponseFacts:
        """Return what was read of it."""


type Ask = Callable[[Members, int], AbstractAsyncContextManager[Answer]]
"""Sends a request of some iteration upstream; leaving the context early cancels it."""
type CallTool = Callable[[CentralTool, Mapping[str, JSON]], Awaitable[ToolResult]]


class UpstreamError(Exception):
    """An upstream request of the inner loop failed."""

    def __init__(
        self, message: str, *, error_type: str | None = None, response: object = None
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.response = response
        """The error as it came, for a client that has seen nothing yet."""


class Observer(Protocol):
    """Learns what happens in the loop."""

    def answered(self, facts: ResponseFacts) -> None:
        """An upstream answer that is not the last has ended."""

    def invoked(
        self, tool: CentralTool, call: InjectedCall, result: ToolResult, response_id: str | None
    ) -> None:
        """A central tool was called."""

    def hidden(self, key: str, restoration: Restoration) -> None:
        """Turns were hidden from the client."""

    def hid_nothing(self, key: str) -> None:
        """An answer has ended of which nothing is to be put back."""


class InnerLoop:
    """One interception's loop.

    `facts` is of the last answer, as far as it has come; `error` says what went wrong, if anything
    did.
    """

    def __init__(
        self,
        *,
        tool_format: ToolFormat,
        request: Members,
        offered: Sequence[CentralTool],
        said_before: str,
        ask: Ask,
        call_tool: CallTool,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self.error: ProviderError | None = None
        self._facts = ResponseFacts()
        self._answer: Answer | None = None
        """The last answer, unless it is the first."""
        self._format = tool_format
        self._request = request
        self._tools = {tool.name: tool for tool in offered}
        self._said_before = said_before
        self._ask = ask
        self._call_tool = call_tool
        self._observer = observer
        self._limits = limits
        self._give_up_at = time.monotonic() + limits.seconds
        self._iteration = 1
        self._history = History()
        self._texts: list[str] = []
        self._first_id: str | None = None
        self._told = False
        """Whether the model was told that it may call no more tools."""

    @property
    def names(self) -> frozenset[str]:
        """The names whose calls are ours."""
        return frozenset(self._tools)

    @property
    def facts(self) -> ResponseFacts:
        """What the last answer has told so far that the observer has not heard."""
        return self._answer.facts() if self._answer else self._facts

    async def stream(self, splicer: Splicer, first: ResponseFacts) -> AsyncGenerator[bytes]:
        """Go on from the end of the first answer; give what the client gets.

        The very end of the message is not among it: it is `splicer.finish()`'s, once all is
        recorded.
        """
        self._facts = first
        self._first_id = first.response_id
        if first.error or not first.complete:
            return
        turn = splicer.turn()
        while self._must_step(turn):
            async with aclosing(_with_pings(self._step(turn), splicer.ping())) as signs:
                async for sign in signs:
                    yield sign
            if turn.client_calls:
                return
            splicer.resume()
            try:
                async with aclosing(self._stream_answer(splicer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except UpstreamError as error:
                self._note_error(error)
                yield splicer.error(str(error))
                return
            if self.facts.error:  # the client has seen it
                self.error = self.facts.error
                return
            turn = splicer.turn()
        if self.error:
            yield splicer.error(self.error.message or "")

    async def whole(self, first_answer: bytes, first: ResponseFacts) -> bytes | None:
        """Go on from the first whole answer; return the client's, None if it is that one.

        Raises:
            UpstreamError: a further request failed; `error` says how.
        """
        self._facts = first
        self._first_id = first.response_id
        merger = self._format.merger(self.names)
        turn = merger.add(decode(first_answer))
        try:
            while self._must_step(turn):
                await self._step(turn)
                if turn.client_calls:
                    break
                async with self._ask(self._request, self._iteration) as answer:
                    self._answer = answer
                    body = await answer.body()
                self._raise_if_failed()
                turn = merger.add(decode(body))
        except UpstreamError as error:
            self._note_error(error)
            raise
        if self.error:
            raise UpstreamError(self.error.message or "", error_type=self.error.type)
        return merger.finish() if merger.hides else None

    async def _stream_answer(self, splicer: Splicer) -> AsyncGenerator[bytes]:
        async with self._ask(self._request, self._iteration) as answer:
            self._answer = answer
            async with aclosing(_with_pings(answer.head(), splicer.ping())) as signs:
                async for sign in signs:
                    yield sign
            async with aclosing(answer.events()) as batches:
                async for events in batches:
                    if chunk := b"".join(splicer.feed(event, data) for event, data in events):
                        yield chunk
        if not self.facts.complete and not self.facts.error:
            raise UpstreamError(
                "aibridge: the provider ended its answer early.", error_type="stream_broken_off"
            )

    def _raise_if_failed(self) -> None:
        """A whole answer may be an error in spite of its status, or nothing that can be read."""
        if error := self.facts.error:
            raise UpstreamError(error.message or "", error_type=error.type)
        if not self.facts.complete:
            raise UpstreamError(
                "aibridge: the provider's answer cannot be read.", error_type="upstream_error"
            )

    def _must_step(self, turn: Turn) -> bool:
        """Whether a turn has calls to be run; if not, all is said and the hidden side is whole."""
        self._texts.append(turn.text)
        if turn.calls and self._told:
            self.error = ProviderError(
                type=OVER_LIMIT,
                message=f"aibridge: the model called tools in {self._iteration} answers on end.",
            )
            return False
        if turn.calls:
            return True
        self._end_history(turn)
        return False

    async def _step(self, turn: Turn) -> None:
        """Run a turn's calls and prepare the next request."""
        results = await self._results(turn.calls)
        items = self._format.result_items(list(zip(turn.calls, results, strict=True)))
        if turn.client_calls:  # the client must answer its own calls first
            self._history.results = items
            self._end_history(turn)
            return
        self._observer.answered(self.facts)
        self._facts, self._answer = ResponseFacts(), None
        self._history.sequence += [
            *self._format.answer_items(turn),
            *self._format.sequence_of_results(items),
        ]
        self._told = self._is_last()
        self._request = self._format.continue_request(self._request, turn, items, last=self._told)
        self._iteration += 1

    async def _results(self, calls: Sequence[InjectedCall]) -> list[ToolResult]:
        """Run all calls of a turn at once; every one has a result."""
        tasks = [asyncio.ensure_future(self._result(call)) for call in calls]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            await _cancelled(tasks)

    async def _result(self, call: InjectedCall) -> ToolResult:
        tool = self._tools[call.name]
        arguments = call_arguments(call.arguments)
        if self._is_last():
            result = error_result("No more tool calls are allowed. Answer with what you have.")
        elif arguments is None:
            result = error_result("The arguments are not a JSON object.")
        else:
            result = await self._call(tool, arguments)
        self._observer.invoked(tool, call, result, self.facts.response_id)
        return result

    async def _call(self, tool: CentralTool, arguments: Mapping[str, JSON]) -> ToolResult:
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + self._give_up_at - time.monotonic()
            ):
                return await self._call_tool(tool, arguments)
        except TimeoutError:
            return error_result("There was no time left for this call.")

    def _is_last(self) -> bool:
        """Whether this answer's calls are not run, and the model is told so."""
        return self._iteration > self._limits.iterations or time.monotonic() > self._give_up_at

    def _note_error(self, error: UpstreamError) -> None:
        self.error = ProviderError(type=error.error_type, message=str(error))

    def _end_history(self, turn: Turn) -> None:
        key = run_key(turn.client_calls, self._said_before, "".join(self._texts))
        if not self._history.sequence and not self._history.results:
            self._observer.hid_nothing(key)
            return
        restoration = Restoration(
            sequence=(*self._history.sequence, *self._format.answer_items(turn)),
            results=tuple(self._history.results),
        )
        self._observer.hidden(key, restoration)
        first, last = self._first_id or "", self.facts.response_id or ""
        if first != last and (alias := self._format.alias_key(first)):
            self._observer.hidden(alias, Restoration(sequence=(last,)))
        self._history = History()


async def _with_pings(work: Coroutine[None, None, None], ping: bytes) -> AsyncGenerator[bytes]:
    """Do some work; give a sign of life whenever it takes long."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=PING_SECONDS))[0]:
            yield ping
        task.result()
    finally:
        await _cancelled([task])


async def _cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel what still runs, and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
