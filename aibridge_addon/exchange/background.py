"""Background responses and batches: finds the record of a request when a client polls it.

OpenAI Responses returns a request with `background: true` at once; the client then polls the
response by its id, streamed or not, as often as it likes, or cancels it. A batch is polled too, and
its results are read, perhaps by another process or repeatedly.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aibridge_addon.background_record import BackgroundRecord
from aibridge_addon.batch_record import BatchRecord
from aibridge_addon.exchange.batch_lists import BatchListExchange, batches_in
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.interception_start import start_interception
from aibridge_addon.exchange.passing import PassingExchange, ignore_usage
from aibridge_addon.exchange.polls import Poll, is_list_of_batches, poll_of
from aibridge_addon.exchange.recorded import RecordedExchange
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    BackgroundResponse,
    Interception,
    RequestFacts,
    Status,
    TokenUsage,
    id_of_day,
    now,
)
from aibridge_addon.formats import FORMATS
from aibridge_addon.interception import Publish
from aibridge_addon.providers.instance import Provider

logger = logging.getLogger(__name__)

MOST_REMEMBERED = 4096
"""Number of responses that are found without asking the store."""
_OF_A_PART = ("range", "if-range")
_ANY_SIZE = 2**62
"""Results of a batch are read line by line, and none is held."""

type Find = Callable[[str, str], Awaitable[BackgroundResponse | None]]
"""Finds a response by the provider instance's name and its id."""

type ReturnTo = Callable[[ClientRequest, str | None], None]
"""Sends a poll with the key that its response was created with, by the hint in the record."""


class BackgroundResponses:
    """Makes recorded exchanges of polls."""

    def __init__(
        self, *, find: Find, publish: Publish, commit: Commit, return_to: ReturnTo
    ) -> None:
        self.capture = frozenset[str]()
        """Contents that are recorded."""
        self._find = find
        self._return_to = return_to
        self._publish = publish
        self._commit = commit
        self._records: OrderedDict[tuple[str, str], BackgroundRecord] = OrderedDict()

        self._recorded: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Responses whose usage is recorded; a client may fetch them again."""
        self.handlers: Handlers = {
            BackgroundResponse: self.remember,
            TokenUsage: self._remember_usage,
        }

    async def attach(self, exchange: Exchange) -> Exchange:
        """Return the exchange of a poll; the same for other requests.

        A poll is recorded until one has brought the end of its response.
        """
        if not isinstance(exchange, PassingExchange):
            return exchange
        request = exchange.flow.request
        poll = poll_of(request, exchange.request.route.provider.type)
        if poll is None:
            is_list = is_list_of_batches(request)
            return BatchListExchange(exchange, self._read_list) if is_list else exchange
        provider = exchange.request.route.provider.name
        record = await self._record(provider, poll.id)
        if record:
            self._return_to(exchange.request, record.interception.credential_hint)
        if record.ended if record else (provider, poll.id) in self._recorded:
            return _ignoring(exchange)
        record = record or self._record_of_elsewhere(exchange, poll)
        if record is None:
            return exchange
        reads_batch = poll.batch_format is not poll.wire_format and isinstance(record, BatchRecord)
        for name in _OF_A_PART:  # usage in a line that is cut would be seen by nobody
            request.headers.pop(name, None)
        read = replace(exchange.request, max_bytes=_ANY_SIZE) if reads_batch else exchange.request
        polled = RecordedExchange(read, poll.wire_format, record=record, commit=self._commit)
        polled.may_change_key = True
        polled.asks_for_stream = request.query.get("stream") == "true"
        return polled

    async def _read_list(self, provider: Provider, body: bytes) -> None:
        """Record the usage of batches that were created through this store."""
        has_ended = False
        for facts in batches_in(provider, body):
            assert facts.response_id, "only such batches are read"
            record = await self._record(provider.name, facts.response_id)
            if isinstance(record, BatchRecord) and not record.ended:
                has_ended |= record.end(Status.COMPLETED, response=facts, http_status=200)
        if has_ended:
            await self._commit()

    async def _record(self, provider: str, response_id: str) -> BackgroundRecord | None:
        key = (provider, response_id)
        if key not in self._records:
            try:
                found = await self._find(provider, response_id)
            except Exception:  # the edge: the store may be away, or somebody else's
                logger.warning("aibridge: a background response cannot be looked up", exc_info=True)
                return None
            if found is not None and key not in self._records:
                self.remember(found)
        return self._records.get(key)

    def _record_of_elsewhere(self, exchange: Exchange, poll: Poll) -> BatchRecord | None:
        """Return a record of a batch that was not created through this store."""
        request, sender = exchange.request, exchange.request.sender
        if poll.batch_format is None or sender is None:
            return None
        name = poll.batch_format.name
        start = start_interception(request, name, RequestFacts(background=True), sender)
        fact = BackgroundResponse(
            interception=start.interception,
            provider_response_id=poll.id,
            prompted=False,
            token_usage_id=id_of_day(request.route.provider.name, poll.id),
            created_at=now(),
        )
        record = BatchRecord(fact, publish=self._publish, capture=self.capture, is_new=True)
        self._keep(fact.interception, poll.id, record)
        return record

    def remember(self, fact: BackgroundResponse) -> None:
        """Create the record that polls of a background response share."""
        key = (fact.interception.provider_name, fact.provider_response_id)
        if key in self._records:  # of a batch, whose first poll is publishing this fact
            return
        made = BatchRecord if FORMATS[fact.interception.api].bills_later else BackgroundRecord
        record = made(fact, publish=self._publish, capture=self.capture)
        self._keep(fact.interception, fact.provider_response_id, record)

    def _keep(self, interception: Interception, id_: str, record: BackgroundRecord) -> None:
        self._records[(interception.provider_name, id_)] = record
        while len(self._records) > MOST_REMEMBERED:
            self._records.popitem(last=False)

    def _remember_usage(self, fact: TokenUsage) -> None:
        if fact.provider_response_id is not None:
            self._recorded[(fact.interception.provider_name, fact.provider_response_id)] = None
            if len(self._recorded) > MOST_REMEMBERED:
                self._recorded.popitem(last=False)


def _ignoring(exchange: Exchange) -> PassingExchange:
    """Return the exchange of a response whose usage is recorded elsewhere."""
    return PassingExchange(exchange.request, exchange.wire_format, count_usage=ignore_usage)
