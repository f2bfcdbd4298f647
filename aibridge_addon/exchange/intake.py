"""Reads complete requests to providers, asks the policies, and makes their exchanges.

The body of a request is not changed here; `chat_usage` and `central_tools` edit it later.
"""

import logging
from dataclasses import replace
from typing import NamedTuple

from mitmproxy import http

from aibridge_addon.access.front_proxies import actor_of_front_proxy
from aibridge_addon.access.keys.affinity import affinity_of, affinity_of_path
from aibridge_addon.access.policies import Refusal
from aibridge_addon.access.sender import Sender
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.error_responses import error_format_of_provider
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.fallbacks import Fallbacks
from aibridge_addon.exchange.head import RoutedHead
from aibridge_addon.exchange.interception_start import InterceptionStart, start_interception
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.passing import CountUsage, PassingExchange
from aibridge_addon.exchange.policy_check import NOT_DECIDED, PolicyCheck
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.exchange.record_maker import RecordMaker, end_refused, end_unread
from aibridge_addon.exchange.websocket_intake import WebSocketIntake
from aibridge_addon.facts import Interception, RequestFacts
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers import identity
from aibridge_addon.raw_json import members
from aibridge_addon.relay.further_send import OriginalRequest
from aibridge_addon.relay.upgrades import is_websocket

logger = logging.getLogger(__name__)


class _Contents(NamedTuple):
    """Contents of a body."""

    members: Members
    body: bytes
    is_partial: bool
    """True if the body could not be decoded; `members` and `body` are empty then."""


class _Decision(NamedTuple):
    """The decision about a request."""

    refusal: Refusal | None
    served: str | None
    """The model with which a fallback serves it, if so."""
    reason: str
    """The failure that leads to the fallback, or `state`."""


class Intake:
    """Makes the exchange of a complete request."""

    def __init__(
        self,
        settings: Settings,
        *,
        policies: PolicyCheck,
        records: RecordMaker,
        websockets: WebSocketIntake,
        metrics: Metrics,
        count_usage: CountUsage,
        keys: KeyPools,
        fallbacks: Fallbacks,
        commit: Commit,
    ) -> None:
        self._keys = keys
        self._fallbacks = fallbacks
        self._settings = settings
        self._policies = policies
        self._records = records
        self._websockets = websockets
        self._metrics = metrics
        self._count_usage = count_usage
        self._commit = commit

    @property
    def must_decide(self) -> bool:
        """True if no request may pass without a decision of the policies."""
        return self._policies.must_decide

    async def accept(self, head: RoutedHead) -> Exchange:
        """Return the exchange of a request; it is refused if the flow has a response then."""
        request = head.request
        try:
            return await self._read(request, self._sender(head))
        except Exception:
            logger.exception(
                "aibridge: internal error: the request of interception %s is not read",
                request.flow.metadata.get("aibridge_interception_id", "none"),
            )
            wire_format = error_format_of_provider(request.route.provider)
            may_pass = head.admission.is_unrestricted and not self.must_decide
            if not may_pass and request.flow.response is None:
                self._policies.refuse(request, wire_format, NOT_DECIDED)
            return PassingExchange(request, wire_format, count_usage=self._count_usage)

    def refuse(self, exchange: Exchange) -> None:
        """Refuse a request that a bug of ours has left unedited."""
        self._policies.refuse(exchange.request, exchange.wire_format, NOT_DECIDED)

    def _sender(self, head: RoutedHead) -> Sender:
        admission = head.admission
        asserted = admission.jwt and admission.jwt.actor
        actor = identity.actor_of(
            proxy_user=head.proxy_user,
            token_owner=admission.owner,
            asserted=asserted
            or actor_of_front_proxy(
                self._settings.front_proxies, admission.fields, _peer(head.request.flow)
            ),
            header_value=admission.headers.get(self._settings.actor_header),
            credential=head.request.credential,
            known_actors=self._settings.actors,
        )
        return Sender(actor=actor, admission=admission)

    async def _read(self, request: ClientRequest, sender: Sender) -> Exchange:
        """Return the exchange of the mode that fits the request."""
        route = request.route
        request.sender = sender
        if route.provider.send_actor:
            request.actor = sender.actor
        if is_websocket(request.flow.request):
            if route.socket:
                return await self._websockets.open(request, route.socket, sender)
            await self._websockets.check_unread(request, sender)
            return self._passing(request)
        api = route.api or route.counts_for
        contents = self._contents(request) if api else None
        if route.api is None or contents is None:
            self._policies.count_passthrough(request)
        if api is None or contents is None:
            await self._fallbacks.send_path_home(request)
            self._keys.assign(request, affinity_of_path(sender.actor.id, request.flow.request.path))
            await self._policies.check_passing(request, sender)
            return self._passing(request)
        facts = FORMATS[api].read_request(request.view(contents.members, sender.headers))
        start = self._with_key(request, start_interception(request, api, facts, sender), contents)
        read = self._read_request(request, api, sender, contents, start.interception)
        if route.api is None:
            return await self._counted(read)
        return await self._bridged(read, start, facts, contents.body)

    def _with_key(
        self, request: ClientRequest, start: InterceptionStart, contents: _Contents
    ) -> InterceptionStart:
        """Give a request the key of its conversation, which its record names."""
        begun = start.interception
        if self._keys.find(request.route.provider.name) is None:
            return start
        if begun.api.endswith("_batches"):
            affinity = affinity_of_path(begun.initiator_id, request.flow.request.path)
        else:
            affinity = affinity_of(begun.initiator_id, begun.client_session_id, contents.body)
        self._keys.assign(request, affinity, begun.model)
        return replace(start, interception=request.as_sent(begun))

    def _contents(self, request: ClientRequest) -> _Contents | None:
        """Return the members of a body; None if it is not a JSON object, which is counted."""
        is_partial = False
        try:
            body = request.json_body()
        except UndecodableError:
            is_partial = True
            body = b"{}"
        found = members(body)
        if found is None or is_partial:
            self._metrics.count_unreadable(request.route.provider.name, "request")
        return None if found is None else _Contents(found, b"" if is_partial else body, is_partial)

    def _read_request(
        self,
        request: ClientRequest,
        api: str,
        sender: Sender,
        contents: _Contents,
        interception: Interception,
    ) -> ReadRequest:
        asked = self._policies.asked(
            request,
            sender,
            interception=interception,
            model=interception.model,
            members=None if contents.is_partial else contents.members,
        )
        return ReadRequest(
            client=request,
            wire_format=FORMATS[api],
            interception=interception,
            asked=asked,
            members=contents.members,
            original=OriginalRequest(request.flow.request.headers.fields, request.raw_body),
            is_partial=contents.is_partial,
        )

    async def _bridged(
        self, read: ReadRequest, start: InterceptionStart, facts: RequestFacts, body: bytes
    ) -> BridgedExchange:
        try:
            decision = await self._decide(read)
            return self._recorded(read, start, facts, body, decision)
        except BaseException:  # also a cancellation
            self._policies.withdraw(read.asked)
            raise

    async def _decide(self, read: ReadRequest) -> _Decision:
        """Ask the policies, at the instance that is to serve the request."""
        served, reason = await self._fallbacks.send_home(read), "state"
        if served:
            read.asked = replace(read.asked, interception=read.client.as_sent(read.interception))
        refusal = await self._policies.decide(read.asked)
        if refusal and refusal.failure and (other := await self._fall_back(read, refusal.failure)):
            return _Decision(None, other, refusal.failure)
        return _Decision(refusal, served, reason)

    def _recorded(
        self,
        read: ReadRequest,
        start: InterceptionStart,
        facts: RequestFacts,
        body: bytes,
        decision: _Decision,
    ) -> BridgedExchange:
        """Begin the record of a request, and end it if a policy refuses it."""
        refusal, served, reason = decision
        record = self._records.make(read.client, start.interception, refusal)
        try:
            record.sent_model = served
            self._records.begin(record, start, refusal, body)
            if served and refusal is None:
                record.sent_by(read.client.as_sent(start.interception), reason)
            record.in_background = facts.background
            self._keys.note_sent(start.interception.id, read.client)
            if refusal:
                self._policies.refuse(read.client, read.wire_format, refusal)
                end_refused(record, refusal)
            return BridgedExchange(read, record=record, commit=self._commit)
        except Exception:
            end_unread(record, may_pass=self._may_pass(read.asked.sender))
            raise

    def _may_pass(self, sender: Sender) -> bool:
        """Return True if no rule could refuse a request that is not decided about."""
        return sender.admission.is_unrestricted and not self.must_decide

    async def _fall_back(self, read: ReadRequest, failure: str) -> str | None:
        """Redirect a request that its instance cannot serve now.

        Returns:
            The model that serves it; None if it may not go to another instance.
        """
        options, route = self._fallbacks.options_of(read), read.client.route
        while option := await self._fallbacks.find(options, failure):
            options.remove(option)
            model = self._fallbacks.apply(read, option)
            read.asked = replace(read.asked, interception=read.client.as_sent(read.interception))
            refusal = await self._policies.decide(read.asked)
            if refusal is None:
                return model
            if refusal.failure is None:
                break
            failure = refusal.failure
        read.client.route, read.client.served_by = route, ""
        return None

    async def _counted(self, read: ReadRequest) -> CountedExchange:
        if refusal := await self._policies.decide(read.asked):
            self._policies.refuse(read.client, read.wire_format, refusal)
        return CountedExchange(read, count_usage=self._count_usage)

    def _passing(self, request: ClientRequest) -> PassingExchange:
        wire_format = error_format_of_provider(request.route.provider)
        return PassingExchange(request, wire_format, count_usage=self._count_usage)


def _peer(flow: http.HTTPFlow) -> str:
    """Return the address of the client's connection."""
    return str(flow.client_conn.peername[0])
