"""The mitmproxy addon: hooks only, no parsing.

A request is taken in (`exchange.intake`), its answer relayed as it comes while a tap reads along
(`exchange.exchange`), and its end waits until the record is kept (`recorder`).
"""

import asyncio
import contextlib
import functools
import importlib
import inspect
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy import ctx, exceptions, flow, http
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Address, Client
from mitmproxy.optmanager import OptManager
from mitmproxy.proxy import layer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.proxy.utils import ReceiveBuffer
from mitmproxy.utils.human import parse_size

from aibridge_addon.access.admission import RefusedConnection
from aibridge_addon.access.egress import PRIVATE_ADDRESS, find_refusal, refused_connection_response
from aibridge_addon.access.listening import OpenProxyError
from aibridge_addon.assembly import Components
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import OPTIONS, OPTIONS_BY_NAME
from aibridge_addon.config.settings import Settings, read_settings
from aibridge_addon.config.watch import FileWatch
from aibridge_addon.description import describe_proxy
from aibridge_addon.exchange.error_answers import shaped_error, wire_format_of
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.intake import Head, take_proxy_user
from aibridge_addon.exchange.websocket import RefusedError
from aibridge_addon.facts import ProviderError
from aibridge_addon.observe.announcement import Announcement
from aibridge_addon.observe.metric_table import ADDED_LATENCY, TUNNELS
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.connection_handlers import deliver_events_of
from aibridge_addon.relay.mitm_layers import REQUEST_TOO_LARGE, install
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.secrets import mask_request
from aibridge_addon.relay.tunnel import (
    NotHttpError,
    interception_layer,
    is_proxy_mode,
    must_tunnel,
    protocol_is_known,
    require_http,
    tunnel,
)
from aibridge_addon.relay.upgrades import becomes_websocket
from aibridge_addon.store.errors import StoreError

logger = logging.getLogger(__name__)


def _guarded[**P, R](hook: Callable[P, R]) -> Callable[P, R]:
    """Keep a bug of ours from the flow: it goes on as it is, and the bug is logged with its id."""

    def report(args: tuple[Any, ...]) -> None:
        subject = args[1] if len(args) > 1 else None
        known = subject.metadata.get if isinstance(subject, flow.Flow) else lambda name: None
        logger.exception(
            "aibridge: a bug of ours in %s; interception %s",
            hook.__name__,
            known("aibridge_interception_id") or getattr(subject, "interception_id", "none"),
        )

    @functools.wraps(hook)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return hook(*args, **kwargs)
        except exceptions.AddonHalt:
            raise
        except Exception:  # noqa: BLE001 the edge
            report(args)
            return None

    @functools.wraps(hook)
    async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await hook(*args, **kwargs)  # type: ignore[misc]
        except Exception:  # noqa: BLE001 the edge
            report(args)

    return guarded_async if inspect.iscoroutinefunction(hook) else guarded  # type: ignore[return-value]


class AIBridge:
    """Observes and records what passes to AI providers."""

    announces = True
    """Whether it announces the proxy to `aibridge` commands, since nobody else does."""

    def __init__(self) -> None:
        self._announcement = Announcement()
        self._components: Components | None = None
        """None until it has started."""
        self._watch = FileWatch(_watched_files, self._read_again)
        self._exchanges: dict[str, Exchange] = {}
        """By flow id, from the request to its end."""
        self._heads: WeakKeyDictionary[http.HTTPFlow, Head] = WeakKeyDictionary()
        """Of requests that have not come whole."""
        self._left: WeakSet[http.HTTPFlow] = WeakSet()
        """Of which the client has left."""
        self._told: set[str] = set()
        """Kinds of closed connections, and doubts about the config file, that the log has."""
        self._is_done = False
        """Whether all is recorded that ever will be; connections may outlive that for a moment."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when it has taken other settings."""

    # Start and end

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        _respell_booleans(ctx.options)
        for option in OPTIONS:
            loader.add_option(option.name, option.type, option.default, option.help, option.choices)

    def configure(self, updated: set[str]) -> None:
        """Check the options.

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
            settings = self._read()
        except SettingsError as error:
            if self._components:
                raise exceptions.OptionsError(str(error)) from error
            # At the start, mitmproxy ends itself over a logged error; an exception of a script
            # would bury it under a traceback.
            for line in str(error).splitlines():
                logger.error("%s", line)
            return
        if self._components:
            self._components.apply(settings)
            self._changed()
        elif not self._is_done:
            self._try_to_start(settings)

    @_guarded
    def running(self) -> None:
        """Announce the proxy to other processes: it listens now."""
        if self._components and self.announces:
            self._announce()

    def _announce(self) -> None:
        try:
            self._announcement.make(describe_proxy(ctx.master))
        except OSError as error:
            logger.warning("aibridge: other programs will not find this proxy: %s", error)

    def _changed(self) -> None:
        """Tell others of other settings."""
        self.on_change()
        if self._announcement.is_made:
            self._announce()

    def reload(self) -> None:
        """Have the config files read again, in a moment; where they are wrong, all stays."""
        self._watch.ask()

    def _read(self) -> Settings:
        self._watch.note()
        ours = {option.name: getattr(ctx.options, option.name) for option in OPTIONS}
        # What is deferred, nobody knows; a name with a slip would do nothing, and say nothing.
        settings = read_settings(ctx.options.deferred | ours)
        for doubt in set(settings.doubts) - self._told:
            logger.warning("aibridge: %s", doubt)
        self._told.update(settings.doubts)
        return settings

    async def _read_again(self) -> None:
        if self._components is None:
            return
        try:
            settings = self._read()
            if settings.mcp_servers:
                # On a thread: it takes a second, for which all that is streamed would stand still.
                await asyncio.to_thread(importlib.import_module, "aibridge_addon.tools.servers")
                settings = self._read()
        except SettingsError as error:
            for line in str(error).splitlines():
                logger.error("aibridge: the old settings stay: %s", line)
            return
        self._components.apply(settings)
        self._changed()
        logger.info("aibridge: the configuration was read again")

    def _try_to_start(self, settings: Settings) -> None:
        """Start what records and counts: now, since mitmproxy listens before it calls `running`."""
        if ctx.options.connection_strategy == "eager":
            # Eager opens the upstream before a request could be routed or refused.
            ctx.options.update(connection_strategy="lazy")
        try:
            self._components = Components(
                settings, ctx.options, bridge=self, register=self._registered
            )
        except StoreError as error:
            logger.error("aibridge_db: %s", error)
        except OpenProxyError as error:
            logger.error("aibridge: %s", error)
        except OSError as error:
            logger.error("aibridge_metrics_listen: %s", error.strerror or error)
        else:
            self._watch.start()
            names = ", ".join(provider.name for provider in settings.providers)
            where = settings.recorder or settings.database
            logger.info("aibridge: recording %s in %s", names, where)

    def done(self) -> Awaitable[object] | None:
        """End what is open, and keep what is left."""
        self._is_done = True
        self._announcement.end()
        exchanges = list(self._exchanges.values())
        for exchange in exchanges:
            exchange.interrupt()
        self._watch.stop()
        # Tasks, since mitmproxy awaits this at its end, but not where a script is reloaded.
        ends: list[Awaitable[None]] = [e.inner.close() for e in exchanges if e.inner]
        if self._components and (closing := self._components.close()):
            ends.append(closing)
        return asyncio.gather(*ends) if ends else None

    @property
    def is_busy(self) -> bool:
        """Whether a request to a provider is open."""
        return bool(self._exchanges)

    @property
    def metrics(self) -> Metrics | None:
        """What has been counted since the start; None before it."""
        return self._components.metrics if self._components else None

    # Connections

    @_guarded
    def client_connected(self, client: Client) -> None:
        """Take a connection in, unless there are too many."""
        deliver_events_of(client)
        if self._components:
            self._components.connections.admit(client)
            self._components.silent.opened(client)

    @_guarded
    def client_disconnected(self, client: Client) -> None:
        """Know that a connection is no more."""
        if self._components:
            self._components.connections.forget(client)
            self._components.silent.has_asked(client)
            self._components.held.release_all(client.id)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Direct a connection to where it may go."""
        if self._components is None:
            return
        try:
            await self._components.egress.direct(data)
        except Exception:  # the edge; unlike elsewhere, what is not checked must not go on
            logger.exception("aibridge: a bug of ours in server_connect")
            data.server.error = "aibridge: this proxy cannot tell whether it may connect."

    @_guarded
    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Show a connection by what was asked for."""
        if self._components:
            self._components.egress.connected(data.server)

    server_connect_error = server_connected

    def upstream_proxy_refusal(self, address: Address, client: Client) -> str | None:
        """Return why an upstream proxy must not be asked for an address, if it must not."""
        return (
            self._components.egress.refusal_beyond(*address[:2], client)
            if self._components
            else None
        )

    def next_layer(self, data: layer.NextLayer) -> None:
        """Tunnel what goes to no provider; put our streams into what does."""
        if data.layer or (components := self._components) is None:
            return
        try:
            data.layer = self._layer_of(data, components)
        except NotHttpError as error:
            self._close(data, error)
        except Exception as error:  # noqa: BLE001 the edge; left to mitmproxy, it might pass unread
            self._close(data, error)
        if data.layer is None:
            raise exceptions.AddonHalt  # the built-in addon would not wait for more

    def _layer_of(self, data: layer.NextLayer, components: Components) -> layer.Layer | None:
        tunnelled = must_tunnel(data, components.intake.router.is_provider_host)
        if tunnelled is None:
            return None
        if tunnelled and not components.admission.allows_tunnel(data.context.client):
            return RefusedConnection(data.context)
        if tunnelled:
            components.metrics.count(TUNNELS)
            components.silent.has_asked(data.context.client)
            return tunnel(data.context)
        if is_proxy_mode(data.context):
            made = self._mitmproxys_layer(data) if protocol_is_known(data) else None
        else:
            made = interception_layer(data)
        install(made, self)
        return made

    def _mitmproxys_layer(self, data: layer.NextLayer) -> layer.Layer | None:
        ctx.master.addons.get("nextlayer").next_layer(data)
        if data.layer:
            require_http(data.layer)
        return data.layer

    def _close(self, data: layer.NextLayer, error: Exception) -> None:
        """Close a connection that nothing of ours would read; say so once of each kind."""
        data.layer = RefusedConnection(data.context)
        is_bug = not isinstance(error, NotHttpError)
        if self._components:
            self._components.metrics.count_refused("", "bug" if is_bug else str(error))
        if (kind := f"{type(error).__name__} {'' if is_bug else error}") not in self._told:
            self._told.add(kind)
            message = "aibridge: a connection is closed, since it would pass unread (%s)"
            what, level = ("a bug of ours", logging.ERROR) if is_bug else (error, logging.WARNING)
            logger.log(level, message, what, exc_info=error if is_bug else None)

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request whose head goes up in place of the flow's."""
        exchange = self._exchanges.get(flow.id)
        return exchange.outgoing_request() if exchange else flow.request

    def hold_limit(self, flow: http.HTTPFlow, begun: ReceiveBuffer) -> int | None:
        """Return up to how many bytes an answer is held; None: all, as far as mitmproxy goes."""
        if exchange := self._exchanges.get(flow.id):
            return exchange.holds_at_most(begun)
        limits = (ctx.options.body_size_limit, ctx.options.stream_large_bodies)
        sizes = [size for limit in limits if (size := parse_size(limit)) is not None]
        return min(sizes, default=None)

    def allows_protocol_switch(self, flow: http.HTTPFlow, response: http.Response) -> bool:
        """Whether an answer 101 may go on: a provider's, if a WebSocket comes of it."""
        components = self._components
        is_ours = flow.id in self._exchanges or (components and components.intake.is_ours(flow))
        return not is_ours or (ctx.options.websocket and becomes_websocket(flow.request, response))

    def stream_response(self, flow: http.HTTPFlow) -> None:
        """Have an answer streamed that has outgrown what is held."""
        if exchange := self._exchanges.get(flow.id):
            exchange.pass_on()
        elif flow.response:
            flow.response.stream = True

    def second_attempt(self, flow: http.HTTPFlow, status: int) -> SecondAttempt | None:
        """Return an attempt with the client's own request, where an edited one was refused."""
        exchange = self._exchanges.get(flow.id)
        if exchange is None or self._components is None or self._is_done:
            return None
        return self._components.last_resort.attempt(exchange, status)

    def client_aborted(self, flow: http.HTTPFlow) -> None:
        """Learn that it is the client who broke off."""
        self._left.add(flow)  # it may not have been taken in yet
        if exchange := self._exchanges.get(flow.id):
            exchange.client_left = True
            if running := exchange.inner or exchange.attempt:
                running.cancel()

    # Requests and answers

    @_guarded
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take the head of a request in: from now on, nobody is shown its secrets."""
        if self._components:
            self._components.silent.has_asked(flow.client_conn)
        if self._components and not (flow.response or flow.error or flow.id in self._exchanges):
            await self._take_head(self._components, flow)

    async def _take_head(self, components: Components, flow: http.HTTPFlow) -> Head:
        try:
            head = components.intake.take_head(flow, await components.admission.admit(flow))
        except Exception:
            if (
                components.admission.requires_token
            ):  # unlike elsewhere, a bug of ours must not let anybody pass
                flow.kill()
            raise
        self._heads[flow] = head
        return head

    def refusal_before_body(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return what answers a request whose body is not worth waiting for; None: it is."""
        head = self._heads.get(flow)
        if head is None or self._components is None:
            return None
        flow.response = flow.response or self._components.intake.refused_unread(head)
        return flow.response

    def refusal_of_size(self, flow: http.HTTPFlow, size: int) -> http.Response | None:
        """Return what answers a request whose body, grown so large, must not be held."""
        components, head = self._components, self._heads.get(flow)
        if (
            components is None
            or head is None
            or components.held.hold(flow.client_conn.id, flow.id, size)
        ):
            return None
        return components.intake.too_much_held(head)

    def _release_body(self, flow: http.HTTPFlow) -> None:
        if self._components:
            self._components.held.release(flow.client_conn.id, flow.id)

    @_guarded
    async def request(self, flow: http.HTTPFlow) -> None:
        """Take a request in."""
        head = self._heads.pop(flow, None)
        if flow.response and head is None:  # another addon, such as that for logins, answered
            mask_request(flow.request)
        if (components := self._components) is None or flow.response or flow.error:
            return
        if self._is_done:
            flow.kill()  # nobody would record it
            return
        if flow.id in self._exchanges:  # of an inner loop
            return
        start = time.perf_counter()
        head = head or await self._take_head(components, flow)
        self._heads.pop(flow, None)
        await components.admission.refresh()
        components.intake.check_unrouted(flow, head)
        if exchange := head.exchange:
            self._exchanges[flow.id] = exchange  # first: it puts the secrets back
            exchange.client_left = flow in self._left
            components.intake.take(head)
            if flow.response is None:
                await components.background.attach(exchange)
            if components.central and flow.response is None:
                await components.central.offer(exchange)
            seconds = time.perf_counter() - start
            components.metrics.time(ADDED_LATENCY, "request", seconds=seconds)

    def _share(self, flow: http.HTTPFlow) -> None:
        """Let web pages of allowed origins read what answers them."""
        if self._components:
            self._components.intake.cross_origin.share(flow)

    @_guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Decide how the answer travels."""
        self._share(flow)
        exchange = self._exchanges.get(flow.id)
        if exchange is None or flow.response is None:
            return
        if exchange.call:
            exchange.call.on_head()
        else:
            exchange.prepare_response()

    @_guarded
    async def aibridge_held(self, tap: BodyTap) -> None:
        """Go on with a streamed answer; record its end before the client sees it."""
        exchange = self._exchanges.get(tap.flow_id)
        if exchange is None or self._is_done:
            return
        if exchange.inner and tap.is_spliced:
            await exchange.inner.go_on(tap)
        elif exchange.inner and tap.holds_buffered:
            await exchange.inner.complete_held(tap)
        if not tap.is_waiting:
            exchange.finish()
            await self._kept()

    @_guarded
    async def aibridge_second_attempt(self, attempt: SecondAttempt) -> None:
        """Wait for the next piece of the answer that takes the place of a refused one."""
        await attempt.advance()

    @_guarded
    async def response(self, flow: http.HTTPFlow) -> None:
        """Complete an answer, and record it before the client sees its end."""
        self._release_body(flow)
        exchange = self._exchanges.get(flow.id)
        if exchange is None:
            return
        if exchange.call:
            exchange.call.on_end()
            return
        if self._is_done:
            return
        if flow.websocket:  # it goes on; each of its requests has a record of its own
            exchange.record = None
            return
        try:
            if exchange.inner and exchange.tap is None:
                await exchange.inner.complete()
        finally:
            self._exchanges.pop(flow.id, None)
            exchange.finish()
        if exchange.record and not (exchange.tap and exchange.tap.released):
            await self._kept()

    @_guarded
    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Read a message; record an answer before the client sees its end."""
        exchange = self._exchanges.get(flow.id)
        if exchange is None or flow.websocket is None:
            return
        message = flow.websocket.messages[-1]
        if not ctx.options.store_streamed_bodies:
            del flow.websocket.messages[:-1]  # a connection may last for hours
        if exchange.conversation is None:
            if not message.from_client:
                exchange.on_unread_message(message.content)
            return
        if message.from_client and self._components:
            await self._components.admission.refresh()
        if self._is_done:
            message.drop()
            return
        try:
            ended = exchange.conversation.on_message(
                message.content, from_client=message.from_client
            )
        except RefusedError as refused:
            message.drop()
            await self._kept()
            ctx.master.commands.call("inject.websocket", flow, True, refused.message, True)
            return
        if ended:
            await self._kept()

    @_guarded
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Record what the end of a connection broke off."""
        exchange = self._exchanges.pop(flow.id, None)
        if exchange and exchange.conversation and flow.websocket:
            by_client = bool(flow.websocket.closed_by_client)
            exchange.conversation.on_end(by_client=by_client)

    @_guarded
    async def error(self, flow: http.HTTPFlow) -> None:
        """Record an answer that broke off; where there is none, make one."""
        self._release_body(flow)
        exchange = self._exchanges.get(flow.id)
        message = flow.error.msg if flow.error else ""
        if exchange is None:
            self._answer_untaken(flow, message)
            self._share(flow)
            return
        if exchange.call:
            exchange.call.on_error(message)
            return
        del self._exchanges[flow.id]
        self._answer_broken_off(exchange, message)
        self._share(flow)
        if exchange.record and not self._is_done:
            await self._kept()
        if exchange.inner:
            await exchange.inner.close()

    def _answer_untaken(self, flow: http.HTTPFlow, message: str) -> None:
        """Answer a request to another host, or one that broke off before it was whole."""
        if refusal := find_refusal(message):
            flow.response = refused_connection_response(403, refusal)
        if self._components and self._components.intake.is_ours(flow):
            head = self._heads.pop(flow, None)
            if head is None:
                mask_request(flow.request)
            elif message == REQUEST_TOO_LARGE:
                limit = ctx.options.body_size_limit
                flow.response = self._components.intake.too_large(head, limit) or flow.response

    def _answer_broken_off(self, exchange: Exchange, message: str) -> None:
        """Answer a request that nobody answered, and record what became of it."""
        flow, provider = exchange.flow, exchange.route.provider
        what = "broke off its answer" if flow.response else "did not answer"
        status, text = 502, f"aibridge: {provider.name} at {flow.request.host} {what}: {message}"
        if refusal := find_refusal(message):
            status, text = 403, refusal
            exchange.refuse(status, ProviderError(type=PRIVATE_ADDRESS, message=refusal))
        exchange.break_off(message)
        if not exchange.client_left and (flow.response is None or not flow.response.stream):
            wire_format = exchange.wire_format or wire_format_of(provider)
            flow.response = shaped_error(wire_format, status, text)

    @contextlib.asynccontextmanager
    async def _registered(self, exchange: Exchange) -> AsyncIterator[None]:
        """Make a request of an inner loop known to the hooks while it runs."""
        self._exchanges[exchange.flow.id] = exchange
        try:
            yield
        finally:
            del self._exchanges[exchange.flow.id]

    @_guarded
    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Let a CONNECT pass, or answer it."""
        if (components := self._components) is None or flow.response:
            return
        if self._is_done:
            flow.kill()  # nobody would record what comes through it
            return
        if refusal := await components.admission.connect(flow, components.intake.router):
            components.metrics.count_refused("", refusal.reason)
        elif not components.intake.router.is_provider_host(flow.request.host):
            await components.egress.check_connect(flow)

    @_guarded
    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Keep a password that was accepted from being shown."""
        take_proxy_user(flow)

    @_guarded
    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Keep a password from being shown, whether it was refused or the connection failed."""
        take_proxy_user(flow)
        mask_request(flow.request)

    async def _kept(self) -> None:
        """Wait until all that was published is safe."""
        assert self._components
        await self._components.kept()


def _respell_booleans(options: OptManager) -> None:
    """Turn what `config.yaml` and `--set` say of options that once were booleans into text."""
    name = "aibridge_ask_chat_usage"
    if name in options.deferred:
        value = options.deferred[name]
        is_bare = getattr(value, "val", None) == []  # --set NAME, without a value
        if is_bare or isinstance(value, bool):
            options.deferred[name] = OPTIONS_BY_NAME[name].respelled(True if is_bare else value)


def _watched_files() -> list[Path]:
    names = (getattr(ctx.options, option.name) for option in OPTIONS if option.watched)
    return [Path(os.path.expanduser(name)) for name in names if name]
