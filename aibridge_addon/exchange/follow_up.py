"""Sends the follow-up requests of inner loops, after the policies have judged each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from mitmproxy import http

from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.error_responses import refusal_response
from aibridge_addon.exchange.inner_call import InnerCallExchange
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.send_dependencies import CheckUpstream, Register
from aibridge_addon.facts import Interception
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.raw_json import body, read
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.upstream_call import UpstreamCall
from aibridge_addon.tools.upstream import UpstreamResponse
from aibridge_addon.upstream_times import UpstreamTimes

type Attach = Callable[[http.HTTPFlow, Interception, int], None]
"""Shows the facts of an upstream request, by its number, with its flow."""


class FollowUps:
    """Sends follow-up requests through mitmproxy, each as a flow of its own."""

    def __init__(
        self,
        *,
        bridge: Bridge,
        register: Register,
        check_upstream: CheckUpstream,
        pools: KeyPools,
        metrics: Metrics,
        attach: Attach,
    ) -> None:
        self._pools = pools
        self._bridge = bridge
        self._register = register
        self._check_upstream = check_upstream
        self._metrics = metrics
        self._attach = attach

    @asynccontextmanager
    async def send(
        self, exchange: BridgedExchange, request: Members
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a further request of an exchange; its response can be read in the context.

        Raises:
            UpstreamError: a policy refuses it.
        """
        await self._check_policies(exchange, request)
        self._use_usable_key(exchange, request)
        flow = _flow_of(exchange, body(request))
        record = exchange.record
        times = record.begin_upstream()
        record.bodies.note_request(times.number, flow.request.content or b"")
        self._attach(flow, record.interception, times.number)
        call = self._call(exchange, flow, times)
        sent = replace(exchange.request, flow=flow)
        inner = InnerCallExchange(
            sent,
            exchange.wire_format,
            call,
            on_head=lambda response: record.response_began(
                response.status_code, response.headers.fields
            ),
        )
        inner.is_judged = True
        try:
            async with self._register(inner), call:
                yield call
            self._pools.report(exchange.request, None)
        except UpstreamError as error:
            error.has_other_key = self._pools.learn(exchange.request, flow.response)
            raise
        finally:
            if flow.response:
                status = flow.response.status_code
                record.bodies.note_response(times.number, call.content(), status=status)

    def _call(
        self, exchange: BridgedExchange, flow: http.HTTPFlow, times: UpstreamTimes
    ) -> UpstreamCall:
        return UpstreamCall(
            flow,
            exchange.wire_format,
            self._bridge,
            wants_stream=exchange.is_streaming,
            max_bytes=exchange.request.max_bytes,
            on_usage=exchange.record.usage_so_far,
            keeps_content=exchange.record.bodies.wants_responses,
            times=times,
        )

    def _use_usable_key(self, exchange: BridgedExchange, request: Members) -> None:
        """Change the key if, meanwhile, the exchange's own cannot be used."""
        record = exchange.record
        if self._pools.renew(exchange.request, body(request)):
            record.sent_by(exchange.request.as_sent(record.interception))

    async def _check_policies(self, exchange: BridgedExchange, request: Members) -> None:
        """Ask the policies again: access tokens and limits may have changed since."""
        asked = replace(exchange.read.asked, content=lambda: body(request), members=request)
        if refusal := await self._check_upstream(asked):
            name = exchange.request.route.provider.name
            self._metrics.count_refused(name, refusal.reason)
            sent = exchange.request.flow.request.headers
            response = refusal_response(exchange.wire_format, refusal, sent)
            raise UpstreamError(
                refusal.message,
                error_type=refusal.reason,
                body=read(response.content or b""),
                response=response,
            )


def _flow_of(exchange: BridgedExchange, content: bytes) -> http.HTTPFlow:
    """Return a flow with the head of the client's request and another body."""
    flow: http.HTTPFlow = exchange.flow.copy()
    flow.is_replay = "request"
    flow.response = flow.error = None
    flow.request.stream = False
    flow.request.content = content
    return flow
