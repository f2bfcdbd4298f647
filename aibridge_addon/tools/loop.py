"""The inner loop: runs the injected calls of a turn and asks again, until a turn has none.

It knows neither mitmproxy nor a wire format: both are passed in, as `SendRequest` and `ToolFormat`.
A consumer may stop at any moment, which cancels all running work, tool calls included.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.formats.tool_protocol import (
    History,
    Members,
    Restoration,
    Splicer,
    StreamError,
    ToolFormat,
    Turn,
    run_key,
)
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import decode
from aibridge_addon.tools.attempts import Attempt, Step
from aibridge_addon.tools.calls import CallObserver, CallTool, TurnCalls
from aibridge_addon.tools.upstream import (
    SendRequest,
    UpstreamResponse,
    pause_before_retry,
    raise_if_transient,
)
from aibridge_addon.tools.waiting import with_pings

OVER_LIMIT = "tool_loop_limit"
"""The error type if the model calls tools although the request forbids further calls."""

NO_MORE_CALLS = "No more tool calls are allowed. Answer with what you have."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one interception's inner loop."""

    iterations: int
    """Upstream responses whose calls are run."""
    seconds: float
    """Duration of the loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopInput:
    """The request that a loop starts from."""

    tool_format: ToolFormat
    request: Members
    """The request as it is sent upstream, with the central tools."""
    offered: Sequence[CentralTool]
    preceding_text: str
    """The text since the last response in the conversation, for `run_key`."""
    attempt: Attempt


class Observer(CallObserver, Protocol):
    """Receives the events of a loop."""

    def response_ended(self, facts: ResponseFacts) -> None:
        """Record an upstream response that is not the last."""

    def hidden(self, key: str, restoration: Restoration) -> None:
        """Store turns that were hidden from the client."""

    def hid_nothing(self, key: str) -> None:
        """Note that a response has ended of which no turn was hidden."""


class InnerLoop:
    """One interception's loop."""

    def __init__(
        self,
        start: LoopInput,
        *,
        send: SendRequest,
        call_tool: CallTool,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self.error: ProviderError | None = None
        """The reason why the loop failed, if it did."""
        self.request = start.request
        """The next request to send upstream."""
        self._facts = ResponseFacts()
        self._response: UpstreamResponse | None = None
        """The last response, unless it is the first."""
        self._start = start
        self._format = start.tool_format
        self._give_up_at = time.monotonic() + limits.seconds
        self._calls = TurnCalls(
            tool_format=start.tool_format,
            offered=start.offered,
            attempt=start.attempt,
            call_tool=call_tool,
            observer=observer,
            give_up_at=self._give_up_at,
        )
        self._send = send
        self._observer = observer
        self._limits = limits
        self._iteration = 1
        self._history = History()
        self._texts: list[str] = []
        self._first_id: str | None = None
        self._calls_forbidden = False
        """True if the last request forbids further calls."""
        for step in start.attempt.steps:  # an earlier attempt has run these
            self._continue_from(step)

    @property
    def names(self) -> frozenset[str]:
        """The names of the offered tools."""
        return self._calls.names

    @property
    def facts(self) -> ResponseFacts:
        """The facts of the last response so far, which the observer has not received."""
        return self._response.facts() if self._response else self._facts

    async def stream(self, splicer: Splicer, first: ResponseFacts) -> AsyncGenerator[bytes]:
        """Continue from the end of the first response; yield the bytes for the client.

        They lack the end of the message, which `splicer.finish()` returns once all is recorded.
        """
        self._facts = first
        self._first_id = first.response_id
        if first.error or not first.complete:
            return
        if not splicer.hides and not self._history.sequence:
            self._end_unchanged(first)
            return
        turn = splicer.turn()
        while self._must_step(turn):
            async with aclosing(with_pings(self._step(turn), splicer.ping())) as pings:
                async for ping in pings:
                    yield ping
            if turn.client_calls:
                break
            splicer.resume()
            try:
                async with aclosing(self._stream_response(splicer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except UpstreamError as error:
                self._fail(error)
                yield splicer.error(error.for_stream())
                return
            if self.facts.error:  # the client has received it
                self.error = self.facts.error
                self._start.attempt.fail()
                return
            turn = splicer.turn()
        if self.error:
            yield splicer.error(StreamError(message=self.error.message or "", http_status=400))
        self._start.attempt.succeed()

    def end_without_calls(self, first: ResponseFacts) -> bool:
        """End the loop if the first response, a buffered one, has no calls; return whether it did.

        Its body need not be decoded: nothing in it is hidden.
        """
        if first.tool_calls or self._history.sequence or self._format.echoes_tools:
            return False
        self._facts = first
        self._end_unchanged(first)
        return True

    def _end_unchanged(self, facts: ResponseFacts) -> None:
        """End the loop after a response without injected calls, whose turn is not read.

        Without calls of the client, only its text would tell which response it was: a later
        request looks it up, which costs less than to read each text.
        """
        calls = [call.call_id for call in facts.tool_calls if call.call_id and not call.server_side]
        if calls:
            self._observer.hid_nothing(run_key(calls, "", ""))
        self._start.attempt.succeed()

    async def run_buffered(self, first_body: bytes, first: ResponseFacts) -> bytes | None:
        """Continue from the first buffered response; return the client's, None if unchanged.

        Raises:
            UpstreamError: a further request failed; `error` has the reason.
        """
        self._facts = first
        self._first_id = first.response_id
        merger = self._format.merger(self.names)
        turn = merger.add(decode(first_body))
        try:
            while self._must_step(turn):
                await self._step(turn)
                if turn.client_calls:
                    break
                turn = merger.add(decode(await self._buffered_response()))
        except UpstreamError as error:
            self._fail(error)
            raise
        self._start.attempt.succeed()
        if self.error:
            raise UpstreamError(self.error.message or "", error_type=self.error.type)
        return merger.finish() if merger.hides else None

    async def _buffered_response(self) -> bytes:
        """Send the next request, with retries; return the body of the response."""
        tries = 1
        while True:
            try:
                return await self._buffered_response_once()
            except UpstreamError as error:
                await asyncio.sleep(self._pause(error, tries))
            tries += 1

    async def _buffered_response_once(self) -> bytes:
        async with self._send(self.request) as response:
            self._response = response
            body = await response.body()
        self._raise_if_failed()
        return body

    async def _stream_response(self, splicer: Splicer) -> AsyncGenerator[bytes]:
        """Send the next request, with retries; yield the spliced bytes of the response."""
        tries = 1
        while True:
            try:
                async with aclosing(self._stream_response_once(splicer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except UpstreamError as error:
                pause = self._pause(error, tries)
            tries += 1
            async with aclosing(with_pings(asyncio.sleep(pause), splicer.ping())) as pings:
                async for ping in pings:
                    yield ping

    def _pause(self, error: UpstreamError, tries: int) -> float:
        """Return the seconds until the next try; raise the error if there must be none."""
        pause = pause_before_retry(error, tries, self._give_up_at - time.monotonic())
        if pause is None:
            raise error
        return pause

    async def _stream_response_once(self, splicer: Splicer) -> AsyncGenerator[bytes]:
        async with self._send(self.request) as response:
            self._response = response
            async with aclosing(with_pings(response.head(), splicer.ping())) as pings:
                async for ping in pings:
                    yield ping
            async with aclosing(response.events()) as batches:
                first = True
                async for events in batches:
                    if first and len(events) == 1 and (error := self.facts.error):
                        raise_if_transient(error, events[0][1])
                    first = False
                    if chunk := b"".join(splicer.feed(event, data) for event, data in events):
                        yield chunk
        if not self.facts.complete and not self.facts.error:
            raise UpstreamError(
                "aibridge: the provider ended its response early.", error_type="stream_broken_off"
            )

    def _raise_if_failed(self) -> None:
        """Raise if a buffered response is an error in spite of its status, or unreadable."""
        if error := self.facts.error:
            raise UpstreamError(error.message or "", error_type=error.type)
        if not self.facts.complete:
            raise UpstreamError(
                "aibridge: the provider's response cannot be read.", error_type="upstream_error"
            )

    def _must_step(self, turn: Turn) -> bool:
        """Return True if a turn has calls to run; otherwise complete the hidden history."""
        self._texts.append(turn.text)
        if turn.calls and self._calls_forbidden:
            self.error = ProviderError(
                type=OVER_LIMIT,
                message=f"aibridge: tool-call limit reached: {self._iteration} responses in a row"
                " called tools; raise `aibridge_tool_iterations` or `aibridge_tool_loop_seconds`.",
            )
            return False
        if turn.calls:
            return True
        self._end_history(turn)
        return False

    async def _step(self, turn: Turn) -> None:
        """Run a turn's calls and prepare the next request, unless another attempt has."""
        call_args = (turn, self.facts.response_id, NO_MORE_CALLS if self._is_last() else "")
        if turn.client_calls:  # the client must return the results of its own calls first
            self._history.results = await self._calls.run_beside_client_calls(*call_args)
            self._end_history(turn)
            return
        step = await self._start.attempt.step(
            self._iteration - 1, self._calls.interrupted(turn), partial(self._calls.run, *call_args)
        )
        self._observer.response_ended(self.facts)
        self._facts, self._response = ResponseFacts(), None
        self._continue_from(step)

    def _continue_from(self, step: Step) -> None:
        """Prepare the request that follows a step."""
        turn, results = Turn(items=step.items), step.results
        self._history.sequence += [
            *self._format.turn_items(turn),
            *self._format.result_messages(results),
        ]
        is_last = self._is_last()
        self.request = self._format.continue_request(self.request, turn, results, last=is_last)
        self._calls_forbidden = is_last
        self._iteration += 1

    def _is_last(self) -> bool:
        """Return True if this response's calls are refused, and the next request forbids calls."""
        return self._iteration > self._limits.iterations or time.monotonic() > self._give_up_at

    def _fail(self, error: UpstreamError) -> None:
        kind = error.error_type or (error.http_status and f"http_{error.http_status}") or None
        self.error = ProviderError(type=kind, message=str(error))
        self._start.attempt.fail()

    def _end_history(self, turn: Turn) -> None:
        key = run_key(turn.client_calls, self._start.preceding_text, "".join(self._texts))
        if not self._history.sequence and not self._history.results:
            self._observer.hid_nothing(key)
            return
        restoration = Restoration(
            sequence=(*self._history.sequence, *self._format.turn_items(turn)),
            results=tuple(self._history.results),
        )
        self._observer.hidden(key, restoration)
        first, last = self._first_id or "", self.facts.response_id or ""
        if first != last and (alias := self._format.alias_key(first)):
            self._observer.hidden(alias, Restoration(sequence=(last,)))
        self._history = History()
