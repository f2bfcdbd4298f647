"""The mitmproxy addon: hooks and wiring, no parsing.

A request is taken in (`proxy.intake`), its answer relayed as it comes while a tap reads along
(`proxy.exchange`), and its end waits until the record is kept (`recorder`).
"""

import asyncio
import contextlib
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions, flow, http
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import layer

from aibridge_addon import recorder
from aibridge_addon.facts import Fact, Interception
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.proxy.central import CentralTools
from aibridge_addon.proxy.conversation import RefusedError
from aibridge_addon.proxy.exchange import Exchange
from aibridge_addon.proxy.headers import hide_secrets
from aibridge_addon.proxy.intake import (
    Intake,
    shaped_error,
    take_proxy_user,
    wire_format_of,
)
from aibridge_addon.proxy.stream import install
from aibridge_addon.proxy.tap import BodyTap
from aibridge_addon.proxy.tunnel import must_tunnel, tunnel
from aibridge_addon.recorder import Recorder, RecorderError
from aibridge_addon.recorder.sqlite import SQLiteRecorder
from aibridge_addon.recorder.store import Retention
from aibridge_addon.settings import OPTIONS, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from aibridge_addon.tools.servers import ToolServers

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

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._intake: Intake | None = None
        self._recorder: Recorder | None = None
        self._metrics: Metrics | None = None
        self._servers: ToolServers | None = None
        self._central: CentralTools | None = None
        self._subscribers: list[Callable[[Fact], None]] = []
        self._exchanges: dict[str, Exchange] = {}
        """By flow id, from the request to its end."""
        self._is_done = False
        """Whether all is recorded that ever will be; connections may outlive that for a moment."""

    # Start and end

    def load(self, loader: Loader) -> None:
        """Declare the options."""
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
        if self._recorder is not None and fixed:
            raise exceptions.OptionsError(f"{', '.join(fixed)}: read at the start only; restart")
        try:
            options = {option.name: getattr(ctx.options, option.name) for option in OPTIONS}
            self._settings = read_settings(options)
        except SettingsError as error:
            if self._settings is not None:
                raise exceptions.OptionsError(str(error)) from error
            # At the start, mitmproxy ends itself over a logged error; an exception of a script
            # would bury it under a traceback.
            for line in str(error).splitlines():
                logger.error("%s", line)
            return
        if self._recorder is not None:
            self._make_intake()
        elif not self._is_done:
            self._try_to_start(self._settings)

    def _try_to_start(self, settings: Settings) -> None:
        """Start what records and counts: now, since mitmproxy listens before it calls `running`."""
        if ctx.options.connection_strategy == "eager":
            # Eager opens the upstream before a request could be routed or refused.
            ctx.options.update(connection_strategy="lazy")
        try:
            self._start(settings)
        except RecorderError as error:
            logger.error("aibridge_db: %s", error)
        except OSError as error:
            logger.error("aibridge_metrics_listen: %s", error.strerror or error)

    def _start(self, settings: Settings) -> None:
        self._metrics = Metrics(
            label_values=settings.metrics_label_values,
            initiators=settings.metrics_initiators,
            tools=settings.metrics_tools,
        )
        if settings.recorder:
            kept_by = recorder.load(settings.recorder)
        else:
            kept_by = SQLiteRecorder(
                settings.database,
                on_event=self._metrics.count_records,
                retention=Retention(
                    interceptions=settings.retention_days, hidden_turns=settings.tool_memory_days
                ),
            )
        if settings.metrics_listen:
            self._metrics.serve(settings.metrics_listen)
        try:
            kept_by.start()
        except RecorderError:
            self._metrics.close()
            raise
        self._recorder = kept_by
        self._subscribers = [recorder.subscriber(kept_by), self._metrics.observe]
        if settings.mcp_servers:
            # Only here: the mcp package costs 20 MiB of memory.
            from aibridge_addon.tools.servers import ToolServers

            self._servers = ToolServers(
                settings.mcp_servers,
                max_result_bytes=settings.tool_result_bytes,
                default_timeout=settings.tool_call_seconds,
            )
            self._servers.start()
        self._make_intake()
        names = ", ".join(provider.name for provider in settings.providers)
        logger.info("aibridge: recording %s in %s", names, settings.recorder or settings.database)

    def _make_intake(self) -> None:
        assert self._settings
        assert self._metrics
        assert self._recorder
        kept_by = self._recorder
        self._intake = Intake(
            self._settings,
            publish=self._publish,
            metrics=self._metrics,
            can_record=lambda: kept_by.available,
        )
        if self._servers:
            self._central = CentralTools(
                self._settings,
                servers=self._servers,
                recorder=kept_by,
                metrics=self._metrics,
                bridge=self,
                register=self._registered,
            )

    def done(self) -> Awaitable[None] | None:
        """End what is open, and keep what is left."""
        self._is_done = True
        for exchange in self._exchanges.values():
            exchange.interrupt()
        if self._metrics:
            self._metrics.close()
        if self._recorder:
            self._recorder.close()
        # A task, since mitmproxy awaits this at its end, but not where a script is reloaded.
        return asyncio.create_task(self._servers.stop()) if self._servers else None

    def _publish(self, fact: Fact) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(fact)
            except Exception:  # the edge: one subscriber must not harm the others
                interception = fact if isinstance(fact, Interception) else fact.interception
                logger.exception("aibridge: a fact of interception %s is lost", interception.id)

    # Connections

    @_guarded
    def next_layer(self, data: layer.NextLayer) -> None:
        """Tunnel what goes to no provider; put our streams into what does."""
        if data.layer or self._intake is None or self._metrics is None:
            return
        tunnelled = must_tunnel(data, self._intake.router.is_provider_host)
        if tunnelled is None:
            raise exceptions.AddonHalt  # the built-in addon would not wait for more
        if tunnelled:
            data.layer = tunnel(data.context)
            self._metrics.tunnels.inc()
            return
        ctx.master.addons.get("nextlayer").next_layer(data)
        install(data.layer, self)

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request whose head goes up in place of the flow's."""
        exchange = self._exchanges.get(flow.id)
        return exchange.outgoing_request() if exchange else flow.request

    def client_left(self, flow: http.HTTPFlow) -> None:
        """Learn that it is the client who broke off."""
        if exchange := self._exchanges.get(flow.id):
            exchange.client_left = True
            if exchange.inner:
                exchange.inner.cancel()

    # Requests and answers

    @_guarded
    async def request(self, flow: http.HTTPFlow) -> None:
        """Take a request in."""
        if flow.response:  # another addon, such as that for passwords, has answered
            hide_secrets(flow.request)
        if self._intake is None or self._metrics is None or flow.response or flow.error:
            return
        if self._is_done:
            flow.kill()  # nobody would record it
            return
        if flow.id in self._exchanges:  # of an inner loop
            return
        start = time.perf_counter()
        if exchange := self._intake.take(flow):
            self._exchanges[flow.id] = exchange
            if self._central and flow.response is None:
                await self._central.offer(exchange)
            self._metrics.request_latency.observe(time.perf_counter() - start)

    @_guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Decide how the answer travels."""
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
        if exchange is None or self._is_cut_off(exchange):
            return
        if exchange.inner and tap.is_spliced:
            await exchange.inner.go_on(tap)
        if not tap.waiting:
            exchange.finish()
            await self._kept()

    @_guarded
    async def response(self, flow: http.HTTPFlow) -> None:
        """Complete an answer, and record it before the client sees its end."""
        exchange = self._exchanges.get(flow.id)
        if exchange is None:
            return
        if exchange.call:
            exchange.call.on_end()
            return
        if self._is_cut_off(exchange):
            return
        if flow.websocket:  # it goes on; each of its requests has a record of its own
            exchange.record = None
            return
        if exchange.inner and exchange.tap is None:
            await exchange.inner.complete()
        self._exchanges.pop(flow.id, None)
        exchange.finish()
        if exchange.record and not (exchange.tap and exchange.tap.released):
            await self._kept()

    @_guarded
    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Read a message; record an answer before the client sees its end."""
        exchange = self._exchanges.get(flow.id)
        if exchange is None or exchange.conversation is None or flow.websocket is None:
            return
        message = flow.websocket.messages[-1]
        if not ctx.options.store_streamed_bodies:
            del flow.websocket.messages[:-1]  # a connection may last for hours
        if self._is_done:
            message.drop()
            return
        try:
            ended = exchange.conversation.on_message(
                message.content, from_client=message.from_client
            )
        except RefusedError as refused:
            message.drop()
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
        exchange = self._exchanges.get(flow.id)
        if exchange is None:
            if self._intake and self._intake.is_ours(flow):  # it broke off before it was whole
                hide_secrets(flow.request)
            return
        message = flow.error.msg if flow.error else ""
        if exchange.call:
            exchange.call.on_error(message)
            return
        del self._exchanges[flow.id]
        exchange.break_off(message)
        if not exchange.client_left and (flow.response is None or not flow.response.stream):
            provider = exchange.route.provider
            what = "broke off its answer" if flow.response else "did not answer"
            flow.response = shaped_error(
                exchange.wire_format or wire_format_of(provider),
                502,
                f"aibridge: {provider.name} at {flow.request.host} {what}: {message}",
            )
        if exchange.record and not self._is_done:
            await self._kept()

    def _is_cut_off(self, exchange: Exchange) -> bool:
        """Break off, after our end, an answer that was recorded as interrupted."""
        if self._is_done and exchange.record and exchange.flow.killable:
            exchange.flow.kill()
        return self._is_done

    @contextlib.asynccontextmanager
    async def _registered(self, exchange: Exchange) -> AsyncIterator[None]:
        """Make a request of an inner loop known to the hooks while it runs."""
        self._exchanges[exchange.flow.id] = exchange
        try:
            yield
        finally:
            del self._exchanges[exchange.flow.id]

    @_guarded
    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Keep a password that was accepted from being shown."""
        take_proxy_user(flow)

    @_guarded
    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Keep a password from being shown, whether it was refused or the connection failed."""
        take_proxy_user(flow)
        hide_secrets(flow.request)

    async def _kept(self) -> None:
        """Wait until all that was published is safe, but not for ever."""
        assert self._recorder
        assert self._settings
        assert self._metrics
        start = time.perf_counter()
        try:
            kept = await asyncio.wait_for(self._recorder.kept(), self._settings.commit_wait)
        except TimeoutError:
            kept = False
        if not kept:
            self._metrics.commit_timeouts.inc()
        self._metrics.commit_latency.observe(time.perf_counter() - start)
