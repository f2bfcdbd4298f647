"""Passes facts without secrets to a third-party recorder, in their order, on the event loop.

Facts with contents are redacted on a thread. A body is passed on only if everything in it may be
recorded: a recorder could not tell what it must leave out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from aibridge_addon.budgets.book import BudgetBook
from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    ProcessSeen,
    RequestContent,
    RequestFact,
    ResponseContent,
    TunnelEnded,
)
from aibridge_addon.formats import FORMATS
from aibridge_addon.redaction import Redaction, redacted
from aibridge_addon.store.recorder import Recorder, fact_handlers

logger = logging.getLogger(__name__)

_WHOLE_REQUEST = frozenset({"requests"})
_WHOLE_RESPONSE = frozenset({"answers", "tools", "thoughts", "results"})


class RedactedRecorder(Recorder):
    """A third-party recorder that sees no secrets."""

    def __init__(self, recorder: Recorder, redaction: Redaction) -> None:
        self._recorder = recorder
        self._redaction = redaction
        self._handlers = fact_handlers(recorder)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "aibridge redaction")
        self._waiting: deque[tuple[str, Future[Fact | None]]] = deque()
        """Facts in their order, with the ids of their interceptions."""

    def start(self) -> None:
        """Start the recorder."""
        self._loop = asyncio.get_running_loop()
        self._recorder.start()

    def _accept(self, fact: RequestFact) -> None:
        future = self._thread.submit(_without_secrets, fact, self._redaction)
        interception = fact if isinstance(fact, Interception) else fact.interception
        self._waiting.append((interception.id, future))
        assert self._loop
        loop = self._loop
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._deliver))

    record_interception = record_interception_ended = record_background_response = _accept
    record_token_usage = record_token_usage_so_far = record_prompt_usage = _accept
    record_tool_usage = record_model_thought = record_rate_limits = _accept
    record_request_content = record_response_content = _accept

    def _deliver(self) -> None:
        """Pass on the facts that are ready, and come before all that are not."""
        while self._waiting and self._waiting[0][1].done():
            interception_id, future = self._waiting.popleft()
            try:
                fact = future.result()
                if fact is not None:
                    self._handlers[type(fact)](fact)
            except Exception:  # the edge: third-party code
                logger.exception("aibridge: a fact of interception %s is lost", interception_id)

    def record_process(self, fact: ProcessSeen) -> None:
        """Pass on a sign of life: it contains no secret, and no order matters."""
        self._recorder.record_process(fact)

    def record_tunnel(self, fact: TunnelEnded) -> None:
        """Pass on a tunnel, whose content nobody knows."""
        self._recorder.record_tunnel(fact)

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Store turns of the inner loop, as they must be sent again."""
        self._recorder.record_hidden_turns(turns)

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Return the contents of hidden turns."""
        return await self._recorder.find_hidden_turns(scope, keys)

    async def find_background_response(
        self, provider_name: str, response_id: str
    ) -> BackgroundResponse | None:
        """Return the record of a background response."""
        return await self._recorder.find_background_response(provider_name, response_id)

    def kept(self) -> Awaitable[bool]:
        """Wait until everything recorded so far is safe from a crash."""
        return self._kept() if self._waiting else self._recorder.kept()

    async def _kept(self) -> bool:
        await asyncio.wait([asyncio.wrap_future(self._waiting[-1][1])])
        self._deliver()
        return await self._recorder.kept()

    def budget_book(self) -> BudgetBook | None:
        """Return the budget book of the recorder, if it has one."""
        return self._recorder.budget_book()

    @property
    def available(self) -> bool:
        """True if facts currently reach their store."""
        return self._recorder.available

    def close(self) -> None:
        """Pass on what is pending, and close the recorder."""
        self._thread.shutdown()
        self._deliver()
        self._recorder.close()


def _without_secrets(fact: Fact, redaction: Redaction) -> Fact | None:
    if not isinstance(fact, RequestContent | ResponseContent):
        return redacted(fact, redaction)
    wire_format = FORMATS.get(fact.interception.api)
    view = wire_format.view if wire_format else None
    body = fact.body
    if isinstance(fact, ResponseContent):
        if view is None or not fact.capture >= _WHOLE_RESPONSE:
            return None
        body = view.assemble_response(body)  # a secret may be cut into many events
    elif not fact.capture >= _WHOLE_REQUEST:
        return None
    credentials = redaction.credentials.of(fact.interception.id)
    return replace(fact, body=redaction.document(body, credentials))
