"""Background responses: finds the record of a response when a client polls it.

OpenAI Responses returns a request with `background: true` at once; the client then polls the
response by its id, streamed or not, as often as it likes, or cancels it.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from mitmproxy import http

from aibridge_addon.background_record import BackgroundRecord
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.passing import PassingExchange, ignore_usage
from aibridge_addon.exchange.recorded import RecordedExchange
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import BackgroundResponse, TokenUsage
from aibridge_addon.formats import openai_responses
from aibridge_addon.interception import Publish

logger = logging.getLogger(__name__)

MOST_REMEMBERED = 4096
"""Number of responses that are found without asking the store."""
_FORMAT = openai_responses.FORMAT
_POLL = re.compile(r"/responses/([^/?]+)(/cancel)?/?(?:\?.*)?")

type Find = Callable[[str, str], Awaitable[BackgroundResponse | None]]
"""Finds a response by the provider instance's name and its id."""


class BackgroundResponses:
    """Makes recorded exchanges of polls."""

    def __init__(self, *, find: Find, publish: Publish, commit: Commit) -> None:
        self.capture = frozenset[str]()
        """Contents that are recorded."""
        self._find = find
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
        response_id = polled_id(exchange.flow.request)
        if response_id is None:
            return exchange
        provider = exchange.request.route.provider.name
        record = await self._record(provider, response_id)
        is_recorded = record.ended if record else (provider, response_id) in self._recorded
        if is_recorded:
            return PassingExchange(exchange.request, _FORMAT, count_usage=ignore_usage)
        if record is None:
            return exchange
        polled = RecordedExchange(
            exchange.request, openai_responses.FORMAT, record=record, commit=self._commit
        )
        polled.asks_for_stream = exchange.flow.request.query.get("stream") == "true"
        return polled

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

    def remember(self, fact: BackgroundResponse) -> None:
        """Create the record that polls of a background response share."""
        key = (fact.interception.provider_name, fact.provider_response_id)
        self._records[key] = BackgroundRecord(fact, publish=self._publish, capture=self.capture)
        while len(self._records) > MOST_REMEMBERED:
            self._records.popitem(last=False)

    def _remember_usage(self, fact: TokenUsage) -> None:
        if fact.provider_response_id is not None:
            self._recorded[(fact.interception.provider_name, fact.provider_response_id)] = None
            if len(self._recorded) > MOST_REMEMBERED:
                self._recorded.popitem(last=False)


def polled_id(request: http.Request) -> str | None:
    """Return the id of the response that a request polls or cancels."""
    before, _, _ = request.path.partition("/responses/")
    found = _POLL.fullmatch(request.path[len(before) :])
    if found is None or request.method != ("POST" if found[2] else "GET"):
        return None
    return unquote(found[1])
