"""Central tools of an exchange: adds them to its request, and attaches the inner loop.

Stands between mitmproxy's flows and `tools.loop`. A request to which no tool is added, and no
hidden turn restored, keeps its bytes.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.error_responses import error_format_of_provider, shaped_error
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.follow_up import FollowUps
from aibridge_addon.exchange.inner_delivery import InnerDelivery
from aibridge_addon.exchange.passing import PassingExchange, ignore_usage
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.exchange.websocket import HandshakeExchange
from aibridge_addon.facts import Interception, ResponseFacts
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.tool_protocol import InjectedCall, Members, Restoration, ToolFormat
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.raw_json import JSON
from aibridge_addon.tools.attempts import Attempt, Attempts
from aibridge_addon.tools.catalogue import Catalogue
from aibridge_addon.tools.ledger import Ledger, scope_of
from aibridge_addon.tools.legal import original_arguments
from aibridge_addon.tools.loop import InnerLoop, Limits, LoopInput
from aibridge_addon.tools.refused_edits import RefusedEdits

if TYPE_CHECKING:
    from aibridge_addon.tools.servers import ToolServers

logger = logging.getLogger(__name__)

START_SECONDS = 5.0
"""Time for which requests wait for tools after the start."""

_TOOLS_NEED_HTTP = "tools_need_http"

_KINDS_WITH_TOOLS = frozenset({"turn", "subagent"})
"""Request kinds to which tools are added; the client program sends all others by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """An edit of one request."""

    read: ReadRequest
    catalogue: Catalogue
    tool_format: ToolFormat
    scope: str
    """A digest of the conversation's owner."""
    attempt: Attempt
    members: Members
    """The edited members."""

    @property
    def tool_set(self) -> tuple[str, str | None, str]:
        """The key of the tools that are added, for `tools.refused_edits`."""
        return self.scope, self.read.interception.model, self.catalogue.digest


class CentralTools:
    """Adds the tools of the configured MCP servers to requests."""

    def __init__(
        self,
        settings: Settings,
        *,
        servers: "ToolServers",
        ledger: Ledger,
        attempts: Attempts,
        follow_ups: FollowUps,
        metrics: Metrics,
        refused_edits: RefusedEdits,
    ) -> None:
        self._settings = settings
        self._refused_edits = refused_edits
        self._warned: set[str] = set()
        """Names of tools that were left out of a request."""
        self._metrics = metrics
        self._servers = servers
        self._follow_ups = follow_ups
        self._ledger = ledger
        self._attempts = attempts
        self._connected_by = time.monotonic() + START_SECONDS
        self._limits = Limits(
            iterations=settings.tool_iterations, seconds=settings.tool_loop_seconds
        )

    async def offer(self, exchange: Exchange) -> Exchange:
        """Add tools to a request, and restore what earlier responses hid.

        Return the exchange that continues: a WebSocket, in which no tools can be added, is refused.
        """
        match exchange:
            case HandshakeExchange():
                if await self._catalogue(exchange.record.interception, any_model=True):
                    return self._refused_handshake(exchange)
            case BridgedExchange() | CountedExchange():
                catalogue = await self._catalogue(exchange.read.interception)
                if catalogue and not exchange.read.is_partial:
                    await self._edit(exchange, catalogue)
        return exchange

    async def _catalogue(
        self, interception: Interception, *, any_model: bool = False
    ) -> Catalogue | None:
        """Return the tools that may be added to a request, if there are any."""
        if FORMATS[interception.api].tools is None:
            return None
        rule = self._settings.injection
        if any_model:  # the handshake of a WebSocket does not name a model
            rule = replace(rule, models=())
        if not rule.allows(
            actor=interception.initiator_id,
            client=interception.client,
            provider=interception.provider_name,
            model=interception.model or "",
        ):
            return None
        await self._first_connections()
        catalogue = self._servers.catalogue
        return catalogue if catalogue.tools else None

    async def _first_connections(self) -> None:
        """Let the first requests wait, for a moment, until every server has been tried."""
        seconds = self._connected_by - time.monotonic()
        if seconds > 0 and await self._servers.ready(seconds):
            self._connected_by = 0.0

    def _refused_handshake(self, exchange: HandshakeExchange) -> PassingExchange:
        """Refuse a WebSocket, after which clients stream over HTTP."""
        exchange.flow.response = shaped_error(
            exchange.wire_format, 426, "aibridge: central tools are offered over HTTP only."
        )
        provider = exchange.request.route.provider
        self._metrics.count_refused(provider.name, _TOOLS_NEED_HTTP)
        wire_format = error_format_of_provider(provider)
        return PassingExchange(exchange.request, wire_format, count_usage=ignore_usage)

    async def _edit(
        self, exchange: BridgedExchange | CountedExchange, catalogue: Catalogue
    ) -> None:
        """Edit a request if that changes it; run an inner loop if it offers tools."""
        read = exchange.read
        scope = _scope(read)
        tool_format = read.wire_format.tools
        assert tool_format  # checked by `_catalogue`
        tool_format = tool_format.for_model(read.interception.model)
        edit = _Edit(
            read=read,
            catalogue=catalogue,
            tool_format=tool_format,
            scope=scope,
            attempt=await self._attempts.join(scope, read.members),
            members=dict(read.members),
        )
        offered = self._inject(edit)
        if not offered and not edit.tool_format.restores_without_tools:
            return
        runs, preceding_text = edit.tool_format.transcript(read.members)
        restored = await self._restore(edit, [run.key for run in runs])
        # The tools are suspected last: they are the same in all conversations.
        suspects = restored or ([edit.attempt.digest] if edit.attempt.steps else ())
        read.edit_keys = tuple((scope, key) for key in suspects) or (edit.tool_set,)
        if offered and isinstance(exchange, BridgedExchange):
            self._run_loop(exchange, edit, offered, preceding_text)
        elif offered or restored:
            read.replace_body(edit.members)

    def _inject(self, edit: _Edit) -> Sequence[CentralTool]:
        """Add tools to the edited members; return those that were added."""
        refused = self._refused_edits
        if (
            edit.read.interception.request_kind not in _KINDS_WITH_TOOLS
            or edit.tool_set in refused
            or (edit.scope, edit.attempt.digest) in refused
        ):
            return ()
        offered = edit.tool_format.inject(edit.members, edit.catalogue.tools)
        if offered:
            self._warn_of_excess(edit.read.members, edit.catalogue, offered)
        return offered

    async def _restore(self, edit: _Edit, keys: Sequence[str]) -> Collection[str]:
        """Restore hidden turns in the edited members; return their keys."""
        keys = [key for key in keys if (edit.scope, key) not in self._refused_edits]
        found = await self._ledger.find(edit.scope, keys)
        return found if found and edit.tool_format.restore(edit.members, found) else ()

    def _run_loop(
        self,
        exchange: BridgedExchange,
        edit: _Edit,
        offered: Sequence[CentralTool],
        preceding_text: str,
    ) -> None:
        exchange.record.injected = frozenset(tool.name for tool in offered)
        loop = InnerLoop(
            LoopInput(
                tool_format=edit.tool_format,
                request=edit.members,
                offered=offered,
                preceding_text=preceding_text,
                attempt=edit.attempt,
            ),
            send=partial(self._follow_ups.send, exchange),
            call_tool=self._call_tool,
            observer=_Observer(exchange.record, self._ledger, edit.scope),
            limits=self._limits,
        )
        edit.read.ask_for_plain_response()
        edit.read.replace_body(loop.request)  # it may go on from an earlier attempt
        exchange.delivery = InnerDelivery(exchange, edit.tool_format, loop=loop)

    def _warn_of_excess(
        self, request: Members, catalogue: Catalogue, offered: Sequence[CentralTool]
    ) -> None:
        """Warn once of each tool that exceeds the wire format's limit beside the client's tools."""
        if len(offered) == len(catalogue):
            return
        own = bytes(request.get("tools", b""))
        left_out = {tool.name for tool in catalogue} - {tool.name for tool in offered}
        left_out = {name for name in left_out - self._warned if f'"{name}"'.encode() not in own}
        if left_out:
            self._warned |= left_out
            logger.warning(
                "aibridge: the wire format allows no more tools; not offered: %s",
                ", ".join(sorted(left_out)),
            )

    async def _call_tool(self, tool: CentralTool, arguments: Mapping[str, JSON]) -> ToolResult:
        return await self._servers.call(tool, original_arguments(arguments, tool.original_names))


def _scope(read: ReadRequest) -> str:
    interception, credential = read.interception, read.client.credential
    key, api = credential.fingerprint if credential else "", read.wire_format.api_of(read.members)
    return scope_of(interception.initiator_id, interception.provider_name, api, key)


@dataclass(frozen=True, slots=True)
class _Observer:
    """Reports to the record and to the ledger what happens in a loop."""

    record: InterceptionRecord
    ledger: Ledger
    scope: str

    def response_ended(self, facts: ResponseFacts) -> None:
        self.record.response_ended(facts)

    def invoked(
        self,
        tool: CentralTool,
        call: InjectedCall,
        result: ToolResult,
        response_id: str | None,
        seconds: float | None,
    ) -> None:
        arguments = original_arguments(call.arguments, tool.original_names)
        call = replace(call, arguments=arguments)
        self.record.invoked(tool, call, result, response_id, seconds)

    def hidden(self, key: str, restoration: Restoration) -> None:
        self.ledger.add(self.scope, key, restoration)

    def hid_nothing(self, key: str) -> None:
        self.ledger.add_nothing(self.scope, key)
