"""Composition root: builds the components from `Settings`, applies a reload, and shuts them down.

Nothing else decides which components exist and who knows whom. The hooks are `addon`'s; settings
come from `config`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from mitmproxy.options import Options

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.connection_limit import ConnectionLimit
from aibridge_addon.access.cors import CrossOriginSharing
from aibridge_addon.access.egress import Egress
from aibridge_addon.access.first_request_timeout import FirstRequestTimeout
from aibridge_addon.access.listening import check_not_open, listened_names
from aibridge_addon.access.policies import (
    Asked,
    BrowserOrigin,
    Policy,
    PolicyContext,
    Refusal,
    first_refusal,
    ordered_policies,
)
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.background import BackgroundResponses
from aibridge_addon.exchange.central_tools import CentralTools
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.intake import Intake
from aibridge_addon.exchange.last_resort import LastResort
from aibridge_addon.exchange.typed_prompts import TypedPrompts
from aibridge_addon.fact_bus import FactBus
from aibridge_addon.observe.descriptors import ShortageLog, calm_accepting
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener
from aibridge_addon.observe.metric_table import ADDED_LATENCY, COMMIT_TIMEOUTS
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.connection_handlers import close_client
from aibridge_addon.relay.held_bodies import HeldBodies
from aibridge_addon.store import open_store, recorder
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.tools.attempts import Attempts
from aibridge_addon.tools.ledger import Ledger

if TYPE_CHECKING:
    from aibridge_addon.tools.servers import ToolServers

type Register = Callable[[Exchange], AbstractAsyncContextManager[None]]
"""Makes a request of an inner loop known to the hooks while it runs."""


class Components:
    """All components, from the start to the end.

    Raises:
        StoreError: the store or the recorder cannot work as configured.
        OpenProxyError: anybody could use the proxy.
        OSError: the metrics' address cannot be listened on.
    """

    intake: Intake
    central: CentralTools | None

    def __init__(
        self, settings: Settings, options: Options, *, bridge: Bridge, register: Register
    ) -> None:
        self._options = options
        self._bridge = bridge
        self._register = register
        self._settings = settings
        self._servers: ToolServers | None = None
        self._facts = FactBus()
        self._store = open_store(settings.database)
        self.admission = AdmissionControl(self._store, settings.require_token)
        if not settings.allow_open:
            check_not_open(options, requires_token=self.admission.requires_token)
        self.egress = Egress(on_refused=self._count_refused)
        self.connections = ConnectionLimit(on_refused=self._count_refused)
        self.silent = FirstRequestTimeout(close=close_client, on_refused=self._count_refused)
        self.held = HeldBodies()
        self.metrics = Metrics(
            label_values=settings.metrics_label_values,
            initiators=settings.metrics_initiators,
            tools=settings.metrics_tools,
        )
        self.last_resort = LastResort(
            metrics=self.metrics,
            bridge=self._bridge,
            register=self._register,
            check_upstream=self._check_upstream,
        )
        self._recorder = self._made_recorder(settings)
        self._listener = self._made_listener(settings)
        try:
            self._recorder.start()
        except BaseException:
            self._close_listener()
            raise
        self._typed_prompts = TypedPrompts()
        self._shortage_log = ShortageLog()
        self._shortage_log.install()
        calm_accepting(asyncio.get_running_loop())
        self.background = BackgroundResponses(
            find=self._recorder.find_background_response,
            publish=self._facts.publish,
            capture=settings.capture,
        )
        for handlers in (
            recorder.fact_handlers(self._recorder),
            self.metrics.handlers,
            self.background.handlers,
            self._typed_prompts.handlers,
        ):
            self._facts.subscribe(handlers)
        remember, find = self._recorder.record_hidden_turns, self._recorder.find_hidden_turns
        self._ledger = Ledger(remember=remember, find=find)
        self._attempts = Attempts(remember=remember, find=find)
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Go on with these settings. What is under way keeps those that it began with."""
        self._settings = settings
        self.background.capture = settings.capture
        self.admission.rule = settings.require_token
        self.egress.allow(
            providers=settings.providers,
            networks=settings.private.networks,
            hosts=settings.private.hosts,
        )
        self.connections.most = settings.max_connections
        self.connections.most_per_address = settings.max_connections_per_address
        self.silent.seconds = settings.first_request_seconds
        self.held.most = settings.held_bodies
        self._use_servers(settings)
        browser_origin = BrowserOrigin(
            allowed_origins=settings.allowed_origins,
            allowed_hosts=settings.allowed_hosts | listened_names(self._options),
        )
        self._policies = self._made_policies(settings, browser_origin)
        self.intake = Intake(
            settings,
            publish=self._facts.publish,
            metrics=self.metrics,
            cross_origin=CrossOriginSharing(browser_origin),
            check_admission=self.admission.check,
            check=self._check,
            typed_prompts=self._typed_prompts,
        )
        self.central = self._made_central(settings)

    async def kept(self) -> None:
        """Wait until all that was published is safe, but not for ever."""
        start = time.perf_counter()
        try:
            kept = await asyncio.wait_for(self._recorder.kept(), self._settings.commit_wait)
        except TimeoutError:
            kept = False
        if not kept:
            self.metrics.count(COMMIT_TIMEOUTS)
        self.metrics.time(ADDED_LATENCY, "commit", seconds=time.perf_counter() - start)

    def close(self) -> Awaitable[None] | None:
        """Keep what is left, and end; return what must be awaited, if there is something."""
        self._close_listener()
        self._shortage_log.remove()
        self._recorder.close()
        # A task, since mitmproxy awaits this at its end, but not where a script is reloaded.
        return asyncio.create_task(self._servers.stop()) if self._servers else None

    # Made once

    def _made_recorder(self, settings: Settings) -> Recorder:
        if settings.recorder:
            return recorder.load(settings.recorder)
        retention = Retention(
            interceptions=settings.retention_days, hidden_turns=settings.tool_memory_days
        )
        return self._store.make_recorder(retention, self.metrics.count_records)

    def _made_listener(self, settings: Settings) -> Listener | None:
        if settings.metrics_listen is None:
            return None
        return Listener(settings.metrics_listen, self.metrics.registry, self._health)

    def _close_listener(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    # Renewed

    def _use_servers(self, settings: Settings) -> None:
        """Have those MCP servers that are configured."""
        if self._servers is not None:
            self._servers.update(settings.mcp_servers)
        elif settings.mcp_servers:
            # Only here: the mcp package costs 20 MiB of memory.
            from aibridge_addon.tools.servers import ToolServers

            self._servers = ToolServers(
                settings.mcp_servers,
                max_result_bytes=settings.tool_result_bytes,
                default_timeout=settings.tool_call_seconds,
                call_seconds_in_all=settings.tool_call_max_seconds,
                on_event=lambda name, event: self._show_servers(),
            )
            self._servers.start()
        self._show_servers()

    def _made_central(self, settings: Settings) -> CentralTools | None:
        if self._servers is None or not settings.mcp_servers:
            return None
        return CentralTools(
            settings,
            servers=self._servers,
            ledger=self._ledger,
            attempts=self._attempts,
            metrics=self.metrics,
            bridge=self._bridge,
            register=self._register,
            check_upstream=self._check_upstream,
            refusals=self.last_resort.refusals,
        )

    def _made_policies(
        self, settings: Settings, browser_origin: BrowserOrigin
    ) -> tuple[Policy, ...]:
        return ordered_policies(
            PolicyContext(
                check_admission=self.admission.check,
                browser_origin=browser_origin,
                require_actor=settings.require_actor,
                actor_header=settings.actor_header,
                must_record=settings.refuse_unrecorded,
                can_record=lambda: self._recorder.available,
            )
        )

    # What the components tell each other

    def _check(self, asked: Asked) -> Refusal | None:
        return first_refusal(self._policies, asked)

    async def _check_upstream(self, asked: Asked) -> Refusal | None:
        """Check a request of an inner loop, after which an access token was revoked perhaps."""
        await self.admission.refresh(0)
        return self._check(asked)

    def _count_refused(self, reason: str) -> None:
        """Count a refusal that is not about a provider."""
        self.metrics.count_refused("", reason)

    def _show_servers(self) -> None:
        if self._servers:
            self.metrics.show_mcp_servers(self._servers.status())

    def _health(self) -> Health:
        servers = self._servers.status() if self._servers else ()
        return Health(
            database="ok" if self._recorder.available else "away",
            mcp_servers={
                server.name: "down" if server.state == "stopped" else server.state
                for server in servers
            },
        )
