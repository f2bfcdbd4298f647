"""The further sends of one request: with another key, after a pause, elsewhere, or without edits.

Each is made before the client has received a byte, and only if the one before it failed. If all
fail, the client receives the last response that a provider sent, byte for byte.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aibridge_addon.access.keys.failures import Failure, classify
from aibridge_addon.access.keys.send_plan import SendPlan, Step
from aibridge_addon.access.policies import Refusal
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.client_request import PooledKey
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.error_responses import refusal_response
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.fallbacks import FallbackOption
from aibridge_addon.exchange.inner_call import InnerCallExchange
from aibridge_addon.exchange.send_dependencies import SendDependencies
from aibridge_addon.facts import UNPROCESSED, Interception
from aibridge_addon.failed_sends import FailedSend
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.relay.further_send import FurtherSend, OriginalRequest, further_request
from aibridge_addon.relay.held_answer import MOST_BYTES, Deliver, HeldAnswer
from aibridge_addon.relay.http2_goaway import is_unprocessed

_BODY_SECONDS = 10.0
"""Time for the body of an error; a slower one is passed on."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The instance, model and key of a send."""

    interception: Interception
    model: str | None
    served_by: str


class FurtherSends:
    """Continues one request whose first send failed."""

    def __init__(self, exchange: Exchange, dependencies: SendDependencies, plan: SendPlan) -> None:
        self.first = HeldAnswer()
        """Receives the response to the first send."""
        self._exchange = exchange
        self._dependencies = dependencies
        self._plan = plan
        self._tried: list[CentralKey] = []
        self._fallbacks = dependencies.fallbacks.options(exchange)
        self._is_first = True

    @asynccontextmanager
    async def run(self, deliver: Deliver) -> AsyncIterator[None]:
        """Send until a response is for the client, and deliver it while the context is open."""
        async with AsyncExitStack() as call:
            answer = await self._answer(call)
            answer.release(deliver)
            yield

    async def _answer(self, call: AsyncExitStack) -> HeldAnswer:
        answer = last = self.first
        place = self._place()
        while (failure := await self._failure(answer)) is not None:
            if answer.head or not last.head:
                last, place = answer, self._place()
            if not await self._prepare(failure, answer):
                self._return_to(place)
                return await self._without_edits(last, call)
            answer = await self._send(call, "sent again")
        return answer

    def _place(self) -> _Place | None:
        """Return where the last send went; None if no record names it."""
        exchange = self._exchange
        if not isinstance(exchange, BridgedExchange):
            return None
        record = exchange.record
        return _Place(record.interception, record.sent_model, exchange.request.served_by)

    def _return_to(self, place: _Place | None) -> None:
        """Let record and response name the place whose response the client receives."""
        if place and isinstance(self._exchange, BridgedExchange):
            request, record = self._exchange.request, self._exchange.record
            request.served_by, record.sent_model = place.served_by, place.model
            if record.interception is not place.interception:
                record.sent_by(place.interception)

    async def _failure(self, answer: HeldAnswer) -> Failure | None:
        """Return the failure that a response states; None if it is for the client."""
        seconds = (
            None if self._is_first else self._exchange.request.route.provider.resend.head_seconds
        )
        self._is_first = False
        try:
            async with asyncio.timeout(seconds):
                await answer.wait_for_head()
        except TimeoutError:
            answer.note("it sent no response in time")
        status = answer.head.status_code if answer.head else None
        if status is None or status >= 400:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BODY_SECONDS):
                    await answer.wait_for_body()
        if len(answer.body) >= MOST_BYTES:
            return None
        failure = classify(status, answer.headers, answer.decoded_body(), datetime.now(UTC))
        if failure and status is None and is_unprocessed(answer.problem):
            failure = replace(failure, is_unprocessed=True)
        self._dependencies.pools.report(self._exchange.request, failure)
        return failure

    async def _prepare(self, failure: Failure, answer: HeldAnswer) -> bool:
        """Prepare the next send; return False if nothing follows."""
        key, fallback = self._other_key(), await self._fallback_for(failure.kind)
        step = self._plan.after(
            failure, has_other_key=key is not None, can_fall_back=fallback is not None
        )
        if step is None:
            return False
        self._note(failure, answer, step)
        await asyncio.sleep(step.pause)
        self._redirect(step, key, fallback)
        reason: str = failure.kind if step.to == "fallback" else ""
        refusal = await self._refusal()
        if refusal and refusal.failure and (other := await self._fallback_for(refusal.failure)):
            self._redirect(Step(to="fallback"), None, other)
            reason = refusal.failure
            refusal = await self._refusal()
        if refusal is None:
            self._report(reason)
        return refusal is None

    async def _fallback_for(self, failure: str) -> FallbackOption | None:
        return await self._dependencies.fallbacks.find(self._fallbacks, failure)

    def _other_key(self) -> PooledKey | None:
        pooled = self._exchange.request.pooled
        if pooled is None:
            return None
        self._tried.append(pooled.key)
        return pooled.other(self._tried)

    def _note(self, failure: Failure, answer: HeldAnswer, step: Step) -> None:
        if isinstance(self._exchange, BridgedExchange):
            record = self._exchange.record
            kind = UNPROCESSED if failure.is_unprocessed else failure.kind
            record.failed_sends.note(
                record.interception,
                FailedSend(kind, failure.http_status, failure.seconds, step.to),
                answer.head.headers.fields if answer.head else (),
            )

    def _redirect(self, step: Step, key: PooledKey | None, fallback: FallbackOption | None) -> None:
        """Let the next send have another key, or go to another instance."""
        exchange = self._exchange
        if step.to == "other_key" and key:
            self._dependencies.pools.use(exchange.request, key)
        elif step.to == "fallback" and fallback and isinstance(exchange, BridgedExchange):
            self._fallbacks = [other for other in self._fallbacks if other != fallback]
            model = self._dependencies.fallbacks.apply(exchange.read, fallback)
            exchange.record.sent_model = model
        if isinstance(exchange, BridgedExchange):
            begun = exchange.request.as_sent(exchange.record.interception)
            exchange.read.asked = replace(exchange.read.asked, interception=begun)

    def _report(self, reason: str) -> None:
        """Report who serves the request now; with a `reason`, it is another instance."""
        exchange = self._exchange
        if isinstance(exchange, BridgedExchange):
            exchange.send_again()
            begun = exchange.request.as_sent(exchange.record.interception)
            exchange.record.sent_by(begun, reason)

    async def _refusal(self) -> Refusal | None:
        """Ask the policies about the next send; they do not judge a request that is not read."""
        if not isinstance(self._exchange, BridgedExchange | CountedExchange):
            return None
        read = self._exchange.read
        refusal = await self._dependencies.check_upstream(read.asked)
        if refusal:
            name = read.client.route.provider.name
            self._dependencies.metrics.count_refused(name, refusal.reason)
        return refusal

    async def _send(
        self, call: AsyncExitStack, comment: str, request: OriginalRequest | None = None
    ) -> HeldAnswer:
        """Send the request, or another one in its place, instead of what is under way."""
        await call.aclose()
        exchange, answer = self._exchange, HeldAnswer()
        sent = replace(exchange.request, flow=further_request(exchange.flow, comment, request))
        if request and sent.pooled:  # the original has the first key
            self._dependencies.pools.use(sent, sent.pooled)
        send = FurtherSend(sent.flow, self._dependencies.bridge, answer)
        inner = InnerCallExchange(sent, exchange.wire_format, send)
        await call.enter_async_context(self._dependencies.register(inner))
        await call.enter_async_context(send)
        return answer

    async def _without_edits(self, answer: HeldAnswer, call: AsyncExitStack) -> HeldAnswer:
        """Return the response to the original request if the edited one was refused."""
        exchange, dependencies = self._exchange, self._dependencies
        if not isinstance(exchange, BridgedExchange | CountedExchange):
            return answer
        status = answer.head.status_code if answer.head else 0
        if not dependencies.last_resort.applies(exchange, status):
            return answer
        dependencies.last_resort.revert(exchange, status)
        if refusal := await self._refusal():
            sent = exchange.request.flow.request.headers
            response = refusal_response(exchange.wire_format, refusal, sent)
            refused = HeldAnswer()
            for piece in (response, response.content or b"{}", b""):
                refused.note(piece)
            return refused
        comment = "original request, after the edited one was refused,"
        original = await self._send(call, comment, exchange.read.original)
        await original.wait_for_head()
        if original.head:
            dependencies.last_resort.note(
                exchange.read, status, original.head.status_code, answer.body
            )
        return original
