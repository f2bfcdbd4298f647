"""Runs mitmproxy with the addon, from its start to a graceful shutdown."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

from mitmproxy import exceptions, http

from aibridge_addon.addon import AIBridge
from aibridge_addon.cli.authority import AuthorityError
from aibridge_addon.cli.master import ReportsStart, make_master
from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.shutdown import GracefulShutdown, follow_stdin, handle_signals
from aibridge_addon.cli.totals import Passed, passed_of
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.observe.health import Health
from aibridge_addon.relay.draining_server import drain_closed_ports
from aibridge_addon.relay.http2_shutdown import end_http2_connections


class StartError(Exception):
    """The proxy cannot start; the message states the reason."""


class Bridge(AIBridge):
    """The addon, with counts of open requests and of everything that passed."""

    name = "aibridge"
    announces = False  # the command announces the proxy itself

    def __init__(self) -> None:
        super().__init__()
        self._ending = 0
        self._is_leaving = False
        """True once a shutdown has begun, and new clients should go elsewhere."""

    @property
    def is_busy(self) -> bool:
        """True if a request to a provider is open."""
        return self.open_requests > 0

    @property
    def open_requests(self) -> int:
        """Number of requests to providers that are open."""
        live = len(self._components.live) if self._components else 0
        return live + self._ending

    @property
    def health(self) -> Health | None:
        """The health now; None before the start."""
        return self._components.health() if self._components else None

    @property
    def is_ready(self) -> bool:
        """True while load balancers should send new clients to this proxy."""
        return super().is_ready and not self._is_leaving

    def leave(self) -> None:
        """Let `/readyz` answer 503 from now on, and let connections end with their responses."""
        self._is_leaving = True

    @property
    def passed(self) -> Passed:
        """Summary of everything that has passed so far."""
        return passed_of(self.metrics.registry) if self.metrics else Passed()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Handle the head of a response from upstream."""
        super().responseheaders(flow)
        self._end_connection_of(flow)

    # The exchange ends when its response is complete; the client receives the end a moment later.

    async def response(self, flow: http.HTTPFlow) -> None:
        """Handle the end of a response."""
        if flow.response and not flow.response.stream:  # its head follows
            self._end_connection_of(flow)
        self._ending += 1
        try:
            await super().response(flow)
        finally:
            self._ending -= 1

    async def error(self, flow: http.HTTPFlow) -> None:
        """Handle a response that broke off."""
        self._ending += 1
        try:
            await super().error(flow)
        finally:
            self._ending -= 1

    def _end_connection_of(self, flow: http.HTTPFlow) -> None:
        """Let the connection end with a response during the shutdown.

        Otherwise a client that asks without a pause would hold the process until its grace is over,
        and lose the request that is open then. For HTTP/2, see `relay.http2_shutdown`.
        """
        response = flow.response
        if self._is_leaving and response and flow.request.is_http11 and response.status_code != 101:
            response.headers["connection"] = "close"


def serve(
    plan: Plan,
    *,
    on_up: Callable[[RunningProxy], None],
    on_change: Callable[[RunningProxy], None] = lambda proxy: None,
    on_end: Callable[[], None] = lambda: None,
    until_eof: bool = False,
    on_question: Callable[[Bridge], None] = lambda bridge: None,
) -> Bridge:
    """Run a proxy until a signal ends it; return the addon, with counts of all that passed.

    Args:
        plan: The settings.
        on_up: Called once the proxy works.
        on_change: Called when the config files were read again.
        on_end: Called when the shutdown begins, and new clients should stay away.
        until_eof: End when stdin is closed, too.
        on_question: Called for each line on stdin, with `until_eof`.

    Raises:
        StartError: the proxy cannot start.
        SystemExit: the proxy cannot start, and the log states the reason.
    """
    bridge = Bridge()
    drain_closed_ports()
    end_http2_connections()
    follow = partial(follow_stdin, on_line=lambda: on_question(bridge)) if until_eof else None
    try:
        asyncio.run(_serve(plan, bridge, on_up, on_change, on_end, follow))
    except (exceptions.OptionsError, AuthorityError, OSError) as error:
        raise StartError(str(error)) from error
    return bridge


async def _serve(
    plan: Plan,
    bridge: Bridge,
    on_up: Callable[[RunningProxy], None],
    on_change: Callable[[RunningProxy], None],
    on_end: Callable[[], None],
    follow: Callable[[GracefulShutdown], None] | None,
) -> None:
    master = make_master(plan, bridge)

    def begin() -> None:
        bridge.leave()
        on_end()

    shutdown = GracefulShutdown(
        master, bridge, grace_s=plan.grace_s, drain_s=plan.drain_s, on_begin=begin
    )
    bridge.on_change = lambda: on_change(bridge.describe(master))
    cast(ReportsStart, master).on_up = lambda: on_up(bridge.describe(master))
    handle_signals(shutdown, bridge.reload)
    if follow:
        follow(shutdown)
    await master.run()
