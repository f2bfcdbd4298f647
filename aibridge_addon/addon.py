"""The mitmproxy addon: hooks only, each calls a component or the exchange of its flow.

Requests are received by `exchange.reception`; `exchange.exchange` handles the rest of each flow.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.master import Master
from mitmproxy.proxy import layer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from aibridge_addon.access.listening import OpenProxyError
from aibridge_addon.assembly import Components
from aibridge_addon.config.live_settings import LiveSettings, respell_booleans
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import OPTIONS
from aibridge_addon.config.settings import Settings
from aibridge_addon.description import describe_proxy
from aibridge_addon.exchange.head_reader import take_proxy_user
from aibridge_addon.hook_guard import guarded
from aibridge_addon.observe.announcement import Announcement, RunningProxy
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.instance import named
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.connection_handlers import deliver_events_of
from aibridge_addon.relay.masked_messages import mask_last_message
from aibridge_addon.relay.masked_responses import mask_response
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.secrets import mask_request
from aibridge_addon.relay.steady_state import prepare_for_requests
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.telemetry.outputs import TelemetryError

logger = logging.getLogger(__name__)


class AIBridge:
    """Observes and records requests to AI providers."""

    announces = True
    """True if this addon announces the proxy to `aibridge` commands, since nobody else does."""

    def __init__(self) -> None:
        self._announcement = Announcement()
        self._components: Components | None = None
        """None until it has started."""
        self._settings = LiveSettings(self._apply)
        self._listens = False
        """True once mitmproxy has opened all ports."""
        self._is_done = False
        """True once nothing more is recorded; connections may outlive that for a moment."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when other settings were applied."""

    # Start and end

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        respell_booleans(ctx.options)
        for option in OPTIONS:
            loader.add_option(*option.declaration)

    def configure(self, updated: set[str]) -> None:
        """Check the options, and apply them.

        Raises:
            OptionsError: with every mistake; mitmproxy then does not start, or keeps the old ones.
        """
        changed = [option for option in OPTIONS if option.name in updated]
        if not changed:
            return
        fixed = [option.name for option in changed if option.fixed]
        if self._components and fixed:
            raise exceptions.OptionsError(f"{', '.join(fixed)}: read at the start only; restart")
        try:
            settings = self._settings.read()
        except SettingsError as error:
            if self._components:
                raise exceptions.OptionsError(str(error)) from error
            # At the start, mitmproxy ends itself over a logged error; an exception of a script
            # would bury it under a traceback.
            for line in str(error).splitlines():
                logger.error("%s", line)
            return
        if self._components:
            self._apply(settings)
        elif not self._is_done:
            self._try_to_start(settings)

    @guarded
    def running(self) -> None:
        """Announce the proxy to load balancers and other processes: it listens now."""
        self._listens = True
        if self._components and self.announces:
            self._announce()
        prepare_for_requests(ctx.master)

    def describe(self, master: Master) -> RunningProxy:
        """Describe the proxy to other processes."""
        return describe_proxy(master, self._settings.current)

    @property
    def is_ready(self) -> bool:
        """True while load balancers should send new clients to this proxy."""
        return self._listens

    def _announce(self) -> None:
        proxy = self.describe(ctx.master)
        if not self._announcement.is_made:
            logger.info("aibridge: records %s", proxy.records)
        try:
            self._announcement.make(proxy)
        except OSError as error:
            logger.warning("aibridge: other programs will not find this proxy: %s", error)

    def reload(self) -> None:
        """Read the config files again soon; if they are wrong, the settings stay."""
        self._settings.reload()

    def _apply(self, settings: Settings) -> None:
        if self._components is None:
            return
        self._components.apply(settings)
        self.on_change()
        if self._announcement.is_made:
            self._announce()

    def _try_to_start(self, settings: Settings) -> None:
        """Build the components now, since mitmproxy listens before it calls `running`."""
        if ctx.options.connection_strategy == "eager":
            # Eager opens the upstream before a request could be routed or refused.
            ctx.options.update(connection_strategy="lazy")
        try:
            self._components = Components(settings, ctx.options, is_ready=lambda: self.is_ready)
        except StoreError as error:
            logger.error("aibridge_db: %s", error)
        except TelemetryError as error:
            logger.error("aibridge_otel: %s", error)
        except OpenProxyError as error:
            logger.error("aibridge: %s", error)
        except OSError as error:
            logger.error("aibridge_metrics_listen: %s", error.strerror or error)
        else:
            self._settings.start()
            where = settings.recorder or open_store(settings.database).location
            logger.info("aibridge: recording %s in %s", named(settings.providers), where)
            if self._listens and self.announces:  # a wrong option had delayed the start
                self._announce()

    def done(self) -> Awaitable[object] | None:
        """End all exchanges, and close the components."""
        self._is_done = True
        self._announcement.end()
        self._settings.stop()
        if self._components is None:
            return None
        exchanges = self._components.live.exchanges()
        self._components.live.is_closed = True
        for exchange in exchanges:
            exchange.interrupt()
        # Tasks, since mitmproxy awaits this at its end, but not where a script is reloaded.
        ends: list[Awaitable[None]] = [exchange.close() for exchange in exchanges]
        if closing := self._components.close():
            ends.append(closing)
        return asyncio.gather(*ends) if ends else None

    @property
    def metrics(self) -> Metrics | None:
        """The metrics since the start; None before it."""
        return self._components.metrics if self._components else None

    # Connections

    @guarded
    def client_connected(self, client: Client) -> None:
        """Accept a connection, unless there are too many."""
        deliver_events_of(client)
        if self._components:
            self._components.connections.admit(client)
            self._components.first_request.start(client)

    @guarded
    def client_disconnected(self, client: Client) -> None:
        """Forget a connection."""
        if self._components:
            self._components.connections.forget(client)
            self._components.tunnels.end(client)
            self._components.held.release_all(client.id)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Check the address of a connection, and direct it there."""
        if self._components is None:
            return
        try:
            await self._components.egress.bind(data)
        except Exception:  # the edge; unlike elsewhere, a connection without a check must not open
            logger.exception("aibridge: internal error in server_connect")
            data.server.error = (
                "aibridge: internal error in the egress check; the connection was not opened."
            )

    @guarded
    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Show a connection by the host that was asked for."""
        if self._components:
            self._components.egress.restore(data.server)

    server_connect_error = server_connected

    def next_layer(self, data: layer.NextLayer) -> None:
        """Tunnel connections to other hosts; intercept those to providers."""
        if self._components and not data.layer:
            self._components.next_layer.choose(data)

    @guarded
    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Allow a CONNECT, or answer it."""
        if (components := self._components) is None or flow.response:
            return
        if self._is_done:
            flow.kill()  # nobody would record what comes through it
            return
        if refusal := await components.admission.connect(flow, components.router):
            components.metrics.count_refused("", refusal.reason)
        elif not components.router.is_provider_host(flow.request.host):
            await components.egress.check_connect(flow)

    @guarded
    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Hide an accepted password."""
        if (user := take_proxy_user(flow)) and self._components:
            self._components.tunnels.note_user(flow.client_conn, user)

    @guarded
    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Hide a password, whether it was refused or the connection failed."""
        take_proxy_user(flow)
        mask_request(flow.request)

    # Requests and responses

    @guarded
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Read the head of a request; from now on, nobody is shown its secrets."""
        if (components := self._components) is None:
            return
        components.first_request.stop(flow.client_conn)
        if not (flow.response or flow.error or components.live.find(flow.id)):
            await components.reception.receive_head(flow)

    @guarded
    async def request(self, flow: http.HTTPFlow) -> None:
        """Receive a complete request."""
        components = self._components
        head = components.live.pop_head(flow) if components else None
        if flow.response and head is None:  # another addon, such as that for logins, answered
            mask_request(flow.request)
        if components is None or flow.response or flow.error:
            return
        if self._is_done:
            flow.kill()  # nobody would record it
        elif components.live.find(flow.id) is None:  # else an inner call
            await components.reception.receive(flow, head)

    @guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Decide whether the response is streamed or buffered."""
        if components := self._components:
            components.cross_origin.share(flow)
            if (exchange := components.live.find(flow.id)) and flow.response:
                mask_response(flow.response)
                exchange.on_head()

    @guarded
    async def aibridge_held(self, tap: BodyTap) -> None:
        """Continue a streamed response; record its end before the client sees it."""
        if self._components and (exchange := self._components.live.find_open(tap.flow_id)):
            await exchange.on_held(tap)

    @guarded
    async def aibridge_second_attempt(self, attempt: SecondAttempt) -> None:
        """Wait for the next piece of the response that replaces a refused one."""
        await attempt.advance()

    @guarded
    async def response(self, flow: http.HTTPFlow) -> None:
        """Complete a response, and record it before the client sees its end."""
        if (components := self._components) is None:
            return
        components.held.release(flow.client_conn.id, flow.id)
        exchange = components.live.find_open(flow.id)
        if flow.websocket:
            if exchange:
                components.live.put(exchange.open_websocket())
            return
        try:
            if exchange:
                await exchange.on_end()
        finally:
            components.views.flow_ended(flow)
            if exchange:
                components.live.pop(flow.id)

    @guarded
    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Read a message; record a response before the client sees its end."""
        if (components := self._components) is None or flow.websocket is None:
            return
        if (exchange := components.live.find(flow.id)) is None:
            return
        message = flow.websocket.messages[-1]
        if not ctx.options.store_streamed_bodies:
            del flow.websocket.messages[:-1]  # a connection may last for hours
        mask_last_message(flow)
        components.views.message_added(flow)
        await exchange.on_message(message)

    @guarded
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Record the responses that the end of a connection broke off."""
        if (components := self._components) is None or flow.websocket is None:
            return
        if exchange := components.live.pop(flow.id):
            exchange.on_websocket_end(by_client=bool(flow.websocket.closed_by_client))
        components.views.flow_ended(flow)

    @guarded
    async def error(self, flow: http.HTTPFlow) -> None:
        """Record a failed exchange; answer the client if nothing was sent to it."""
        message = flow.error.msg if flow.error else ""
        if (components := self._components) is None:
            return
        components.held.release(flow.client_conn.id, flow.id)
        try:
            if exchange := components.live.pop(flow.id):
                await exchange.on_error(message)
            else:
                components.reception.answer_error(flow, message, ctx.options.body_size_limit)
        finally:
            components.cross_origin.share(flow)
            components.views.flow_ended(flow)
