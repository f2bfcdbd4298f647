"""Central tools in an exchange: offered in its request, called in its answer's inner loop.

Between mitmproxy's flows on the one side and `tools.loop` on the other. A request in which nothing
can be offered, and to which nothing is put back, stays the bytes that it was.
"""

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.error_answers import shaped_error
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.inner_answer import InnerAnswer
from aibridge_addon.exchange.last_resort import CheckUpstream, Register
from aibridge_addon.facts import Interception, ResponseFacts
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    Restoration,
)
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.raw_json import JSON, body, read
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.upstream_call import UpstreamCall
from aibridge_addon.tools.attempts import Attempts
from aibridge_addon.tools.catalogue import Catalogue
from aibridge_addon.tools.ledger import Ledger, scope_of
from aibridge_addon.tools.legal import original_arguments
from aibridge_addon.tools.loop import InnerLoop, Limits, LoopInput
from aibridge_addon.tools.refused_edits import RefusedEdits
from aibridge_addon.tools.upstream import UpstreamResponse

if TYPE_CHECKING:
    from aibridge_addon.tools.servers import ToolServers

logger = logging.getLogger(__name__)

START_SECONDS = 5.0
"""How long requests may wait for tools after the start."""

_TOOLS_NEED_HTTP = "tools_need_http"

_KINDS_WITH_TOOLS = frozenset({"turn", "subagent"})
"""Kinds of requests that are offered tools; the client program makes all others by itself."""


class CentralTools:
    """Offers the tools of the configured servers."""

    def __init__(
        self,
        settings: Settings,
        *,
        servers: "ToolServers",
        ledger: Ledger,
        attempts: Attempts,
        metrics: Metrics,
        bridge: Bridge,
        register: Register,
        check_upstream: CheckUpstream,
        refusals: RefusedEdits,
    ) -> None:
        self._settings = settings
        self._check_upstream = check_upstream
        self._refusals = refusals
        self._warned: set[str] = set()
        """Names of tools that were left out of a request."""
        self._metrics = metrics
        self._servers = servers
        self._bridge = bridge
        self._register = register
        self._ledger = ledger
        self._attempts = attempts
        self._connected_by = time.monotonic() + START_SECONDS
        self._limits = Limits(
            iterations=settings.tool_iterations, seconds=settings.tool_loop_seconds
        )

    async def offer(self, exchange: Exchange) -> None:
        """Offer tools in a request, and put back what earlier answers hid."""
        asks = exchange.interception
        # The handshake of a WebSocket does not name a model.
        any_model = exchange.conversation is not None
        if asks is None or FORMATS[asks.api].tools is None:
            return
        if not self._is_for(asks, any_model=any_model):
            return
        await self._first_connections()
        catalogue = self._servers.catalogue
        if not catalogue.tools:
            return
        if exchange.conversation:
            self._refuse_socket(exchange)
        elif exchange.members is not None and not exchange.partial:  # what is not read stays
            await self._edit(exchange, asks, exchange.members, catalogue)

    async def _edit(
        self,
        exchange: Exchange,
        asks: Interception,
        request: Members,
        catalogue: Catalogue,
    ) -> None:
        """Edit a request if that changes it; follow its answer if it offers tools."""
        tool_format = FORMATS[asks.api].tools
        assert tool_format
        scope = _scope(exchange, asks)
        edited = dict(request)
        tool_set = (scope, asks.model, catalogue.digest)
        is_offered = asks.request_kind in _KINDS_WITH_TOOLS and tool_set not in self._refusals
        attempt = await self._attempts.join(scope, request)
        is_offered = is_offered and (scope, attempt.digest) not in self._refusals
        offered = tool_format.inject(edited, catalogue.tools) if is_offered else ()
        if offered:
            self._warn_of_excess(request, catalogue, offered)
        elif not tool_format.restores_without_tools:
            return
        runs, text_since = tool_format.transcript(request)
        keys = [run.key for run in runs if (scope, run.key) not in self._refusals]
        found = await self._ledger.find(scope, keys)
        restored = tool_format.restore(edited, found) if found else False
        # The tools are suspected last: they are the same in all conversations.
        suspects = found if restored else [attempt.digest] if attempt.steps else ()
        exchange.edits = tuple((scope, key) for key in suspects) or (tool_set,)
        if offered or restored:
            exchange.flow.request.content = body(edited)
        if not offered or exchange.record is None:  # a record is missing where tokens are counted
            return
        exchange.record.injected = frozenset(tool.name for tool in offered)
        exchange.flow.request.headers["accept-encoding"] = "identity"  # the answer must be cut
        loop = InnerLoop(
            LoopInput(
                tool_format=tool_format,
                request=edited,
                offered=offered,
                preceding_text=text_since,
                attempt=attempt,
            ),
            send=partial(self._send, exchange),
            call_tool=self._call_tool,
            observer=_Observer(exchange.record, self._ledger, scope),
            limits=self._limits,
        )
        exchange.flow.request.content = body(loop.request)  # it may go on from an earlier attempt
        exchange.inner = InnerAnswer(exchange, tool_format, loop=loop)

    def _warn_of_excess(
        self, request: Members, catalogue: Catalogue, offered: Sequence[CentralTool]
    ) -> None:
        """Warn once of each tool for which the API has no room beside the client's own."""
        if len(offered) == len(catalogue):
            return
        own = bytes(request.get("tools", b""))
        left_out = {tool.name for tool in catalogue} - {tool.name for tool in offered}
        left_out = {name for name in left_out - self._warned if f'"{name}"'.encode() not in own}
        if left_out:
            self._warned |= left_out
            logger.warning(
                "aibridge: the API takes no more tools with those of the client; not offered: %s",
                ", ".join(sorted(left_out)),
            )

    async def _call_tool(self, tool: CentralTool, arguments: Mapping[str, JSON]) -> ToolResult:
        return await self._servers.call(tool, original_arguments(arguments, tool.original_names))

    def _refuse_socket(self, exchange: Exchange) -> None:
        """Refuse a WebSocket, in which no tools can be offered; clients then stream over HTTP."""
        assert exchange.wire_format
        exchange.flow.response = shaped_error(
            exchange.wire_format, 426, "aibridge: central tools are offered over HTTP only."
        )
        exchange.conversation = exchange.record = None
        self._metrics.count_refused(exchange.route.provider.name, _TOOLS_NEED_HTTP)

    async def _first_connections(self) -> None:
        """Let the first requests wait, for a moment, until every server has been tried."""
        seconds = self._connected_by - time.monotonic()
        if seconds > 0 and await self._servers.ready(seconds):
            self._connected_by = 0.0

    def _is_for(self, asks: Interception, *, any_model: bool) -> bool:
        rule = self._settings.injection
        if any_model:
            rule = replace(rule, models=())
        return rule.allows(
            actor=asks.initiator_id,
            client=asks.client,
            provider=asks.provider_name,
            model=asks.model or "",
        )

    @asynccontextmanager
    async def _send(
        self, exchange: Exchange, request: Members, iteration: int
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a further request of an exchange, as a flow of its own that the hooks know."""
        await self._check_policies(exchange, request)
        flow = exchange.flow.copy()
        flow.is_replay = "request"
        flow.response = flow.error = None
        flow.request.stream = False
        flow.request.content = body(request)
        flow.comment = f"aibridge: request {iteration} of one interception"
        assert exchange.wire_format
        assert exchange.record
        call = UpstreamCall(
            flow,
            exchange.wire_format,
            self._bridge,
            wants_stream=exchange.streams,
            max_bytes=exchange.max_bytes,
            on_usage=exchange.record.usage_so_far,
        )
        inner = Exchange(
            flow=flow,
            route=exchange.route,
            secrets=exchange.secrets,
            max_bytes=exchange.max_bytes,
            call=call,
        )
        async with self._register(inner), call:
            yield call

    async def _check_policies(self, exchange: Exchange, request: Members) -> None:
        """Ask the policies about a further request: what they know may have changed since.

        Raises:
            UpstreamError: it must not go up.
        """
        assert exchange.asked
        assert exchange.wire_format
        asked = replace(exchange.asked, content=lambda: body(request))
        if refusal := await self._check_upstream(asked):
            self._metrics.count_refused(exchange.route.provider.name, refusal.reason)
            answer = shaped_error(exchange.wire_format, refusal.status, refusal.message)
            raise UpstreamError(
                refusal.message,
                error_type=refusal.reason,
                body=read(answer.content or b""),
                response=answer,
            )


def _scope(exchange: Exchange, asks: Interception) -> str:
    key = exchange.credential.fingerprint if exchange.credential else ""
    return scope_of(asks.initiator_id, asks.provider_name, asks.api, key)


@dataclass(frozen=True, slots=True)
class _Observer:
    """Tells the record and the ledger what happens in a loop."""

    record: InterceptionRecord
    ledger: Ledger
    scope: str

    def response_ended(self, facts: ResponseFacts) -> None:
        self.record.answered(facts)

    def invoked(
        self, tool: CentralTool, call: InjectedCall, result: ToolResult, response_id: str | None
    ) -> None:
        arguments = original_arguments(call.arguments, tool.original_names)
        call = replace(call, arguments=arguments)
        self.record.invoked(tool, call, result, response_id)

    def hidden(self, key: str, restoration: Restoration) -> None:
        self.ledger.add(self.scope, key, restoration)

    def hid_nothing(self, key: str) -> None:
        self.ledger.add_nothing(self.scope, key)
