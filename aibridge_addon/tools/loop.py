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
"""The error type of a model that goes on calling tools when it was told that it may not."""

NO_MORE_CALLS = "No more tool calls are allowed. Answer with what you have."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one interception's inner loop."""

    iterations: int
    """Upstream answers that may have their calls run."""
    seconds: float
    """Of the whole loop."""


class Observer(CallObserver, Protocol):
    """Learns what happens in the loop."""

    def answered(self, facts: ResponseFacts) -> None:
        """An upstream answer that is not the last has ended."""

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
        attempt: Attempt,
        ask: SendRequest,
        call_tool: CallTool,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self.error: ProviderError | None = None
        self._facts = ResponseFacts()
        self._answer: UpstreamResponse | None = None
        """The last answer, unless it is the first."""
        self._format = tool_format
        self.request = request
        """The next request, as it goes up."""
        self._attempt = attempt
        self._give_up_at = time.monotonic() + limits.seconds
        self._calls = TurnCalls(
            tool_format=tool_format,
            offered=offered,
            attempt=attempt,
            call_tool=call_tool,
            observer=observer,
            give_up_at=self._give_up_at,
        )
        self._said_before = said_before
        self._ask = ask
        self._observer = observer
        self._limits = limits
        self._iteration = 1
        self._history = History()
        self._texts: list[str] = []
        self._first_id: str | None = None
        self._told = False
        """Whether the model was told that it may call no more tools."""
        for step in attempt.steps:  # an earlier attempt has come so far
            self._go_on_from(step)

    @property
    def names(self) -> frozenset[str]:
        """The names whose calls are ours."""
        return self._calls.names

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
            async with aclosing(with_pings(self._step(turn), splicer.ping())) as signs:
                async for sign in signs:
                    yield sign
            if turn.client_calls:
                break
            splicer.resume()
            try:
                async with aclosing(self._stream_answer(splicer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except UpstreamError as error:
                self._note_error(error)
                yield splicer.error(error.for_stream())
                return
            if self.facts.error:  # the client has seen it
                self.error = self.facts.error
                self._attempt.fail()
                return
            turn = splicer.turn()
        if self.error:
            yield splicer.error(StreamError(message=self.error.message or "", http_status=400))
        self._attempt.succeed()

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
                turn = merger.add(decode(await self._whole_answer()))
        except UpstreamError as error:
            self._note_error(error)
            raise
        self._attempt.succeed()
        if self.error:
            raise UpstreamError(self.error.message or "", error_type=self.error.type)
        return merger.finish() if merger.hides else None

    async def _whole_answer(self) -> bytes:
        """Ask until there is an answer, or no more sense in asking."""
        tries = 1
        while True:
            try:
                return await self._whole_answer_once()
            except UpstreamError as error:
                await asyncio.sleep(self._pause(error, tries))
            tries += 1

    async def _whole_answer_once(self) -> bytes:
        async with self._ask(self.request, self._iteration) as answer:
            self._answer = answer
            body = await answer.body()
        self._raise_if_failed()
        return body

    async def _stream_answer(self, splicer: Splicer) -> AsyncGenerator[bytes]:
        """Ask until there is an answer, or no more sense in asking; give what it brings."""
        tries = 1
        while True:
            try:
                async with aclosing(self._stream_answer_once(splicer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except UpstreamError as error:
                pause = self._pause(error, tries)
            tries += 1
            async with aclosing(with_pings(asyncio.sleep(pause), splicer.ping())) as signs:
                async for sign in signs:
                    yield sign

    def _pause(self, error: UpstreamError, tries: int) -> float:
        """Return how long to wait before the next try; raise the error if there is to be none."""
        pause = pause_before_retry(error, tries, self._give_up_at - time.monotonic())
        if pause is None:
            raise error
        return pause

    async def _stream_answer_once(self, splicer: Splicer) -> AsyncGenerator[bytes]:
        async with self._ask(self.request, self._iteration) as answer:
            self._answer = answer
            async with aclosing(with_pings(answer.head(), splicer.ping())) as signs:
                async for sign in signs:
                    yield sign
            async with aclosing(answer.events()) as batches:
                first = True
                async for events in batches:
                    if first and len(events) == 1 and (error := self.facts.error):
                        raise_if_transient(error, events[0][1])
                    first = False
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
        """Run a turn's calls and prepare the next request, unless another attempt has."""
        asked = (turn, self.facts.response_id, NO_MORE_CALLS if self._is_last() else "")
        if turn.client_calls:  # the client must answer its own calls first
            self._history.results = await self._calls.run_beside_client_calls(*asked)
            self._end_history(turn)
            return
        step = await self._attempt.step(
            self._iteration - 1, self._calls.interrupted(turn), partial(self._calls.run, *asked)
        )
        self._observer.answered(self.facts)
        self._facts, self._answer = ResponseFacts(), None
        self._go_on_from(step)

    def _go_on_from(self, step: Step) -> None:
        """Prepare the request that follows a step."""
        turn, results = Turn(items=step.items), step.results
        self._history.sequence += [
            *self._format.answer_items(turn),
            *self._format.sequence_of_results(results),
        ]
        self._told = self._is_last()
        self.request = self._format.continue_request(self.request, turn, results, last=self._told)
        self._iteration += 1

    def _is_last(self) -> bool:
        """Whether this answer's calls are not run, and the model is told so."""
        return self._iteration > self._limits.iterations or time.monotonic() > self._give_up_at

    def _note_error(self, error: UpstreamError) -> None:
        kind = error.error_type or (error.http_status and f"http_{error.http_status}") or None
        self.error = ProviderError(type=kind, message=str(error))
        self._attempt.fail()

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
