"""Asks the policies about requests, and refuses those that break a rule."""

from dataclasses import replace
from functools import partial

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.access.sender import Sender
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.error_responses import error_format_of_provider, refusal_response
from aibridge_addon.exchange.live import LiveRequests
from aibridge_addon.exchange.policy_set import PolicySet
from aibridge_addon.facts import Interception
from aibridge_addon.formats import Format
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.upgrades import is_websocket

NOT_DECIDED = Refusal(
    status=400,
    reason="internal_error",
    message="aibridge: internal error while checking this request; see the log of the proxy.",
)
"""Refusal where a bug of ours would let a request pass that a rule might refuse."""


def is_reverse(flow: http.HTTPFlow) -> bool:
    """Return True if a request was sent to the reverse proxy."""
    return isinstance(flow.client_conn.proxy_mode, ReverseMode)


class PolicyCheck:
    """The policies, as requests from clients meet them."""

    def __init__(
        self, settings: Settings, policies: PolicySet, live: LiveRequests, metrics: Metrics
    ) -> None:
        self.decide = policies.decide
        self.withdraw = policies.withdraw
        self.must_decide = policies.must_decide
        self.must_read_messages = policies.must_read_messages
        self.count_begun_upstream = policies.count
        self.find_spent_budget = policies.find_spent_budget
        self._live = live
        self._settings = settings
        self._metrics = metrics

    def asked(
        self,
        request: ClientRequest,
        sender: Sender,
        *,
        interception: Interception | None = None,
        model: str | None = None,
        members: Members | None = None,
    ) -> Asked:
        """Return the input of the policies for a request."""
        flow, route = request.flow, request.route
        return Asked(
            sender=sender,
            route=route,
            credential=request.credential,
            method=flow.request.method,
            path=flow.request.path,
            fields=flow.request.headers.fields,
            hosts=request.hosts,
            to_reverse_proxy=is_reverse(flow),
            content=request.content_to_judge,
            unread=request.unread_content,
            members=members,
            has_left=partial(self._live.has_left, flow),
            on_remaining=partial(setattr, request, "budget_left"),
            is_signed=request.is_signed,
            opens_websocket=is_websocket(flow.request),
            model=model,
            interception=interception,
            must_name_model=bool(route.api or route.counts_for),
            is_recorded=bool(route.api or route.socket),
            uses_central_tools=(
                interception is not None
                and not request.is_signed
                and self._offers_tools(interception)
            ),
        )

    async def check_passing(self, request: ClientRequest, sender: Sender) -> bool:
        """Refuse a request that is not recorded, and breaks a rule; return False then."""
        asked = replace(self.asked(request, sender), is_recorded=False)
        if refusal := await self.decide(asked):
            self.refuse(request, error_format_of_provider(request.route.provider), refusal)
        return refusal is None

    def count_passthrough(self, request: ClientRequest) -> None:
        """Count a request that is relayed without a record."""
        route, method = request.route, request.flow.request.method
        self._metrics.count_passthrough(route.provider.name, route.label, method)

    def refuse(self, request: ClientRequest, wire_format: Format, refusal: Refusal) -> None:
        """Answer a request with a refusal."""
        sent = request.flow.request.headers
        request.flow.response = refusal_response(wire_format, refusal, sent)
        self.count(request, refusal.reason)

    def count(self, request: ClientRequest, reason: str) -> None:
        """Count a refused request or message."""
        self._metrics.count_refused(request.route.provider.name, reason)

    def _offers_tools(self, interception: Interception) -> bool:
        return bool(self._settings.mcp_servers) and self._settings.injection.allows(
            actor=interception.initiator_id,
            client=interception.client,
            provider=interception.provider_name,
            model=interception.model or "",
        )
