"""Runs mitmproxy with the addon, from its start to a graceful shutdown."""

import asyncio
from collections.abc import Callable
from typing import cast

from mitmproxy import exceptions, http
from mitmproxy.master import Master

from aibridge_addon.addon import AIBridge
from aibridge_addon.cli.authority import AuthorityError
from aibridge_addon.cli.master import ReportsStart, make_master
from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.shutdown import GracefulShutdown, handle_signals, shut_down_at_eof
from aibridge_addon.cli.totals import Passed, passed_of


class StartError(Exception):
    """The proxy cannot start; the message states the reason."""


class Bridge(AIBridge):
    """The addon, with counts of open requests and of everything that passed."""

    name = "aibridge"
    announces = False  # the command announces the proxy itself

    def __init__(self) -> None:
        super().__init__()
        self._ending = 0

    @property
    def is_busy(self) -> bool:
        """True if a request to a provider is open."""
        return super().is_busy or self._ending > 0

    @property
    def passed(self) -> Passed:
        """Summary of everything that has passed so far."""
        return passed_of(self.metrics.registry) if self.metrics else Passed()

    # The exchange ends when its response is complete; the client receives the end a moment later.

    async def response(self, flow: http.HTTPFlow) -> None:
        """Handle the end of a response."""
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


def serve(
    plan: Plan,
    *,
    on_up: Callable[[Master], None],
    on_change: Callable[[Master], None] = lambda master: None,
    on_end: Callable[[], None] = lambda: None,
    until_eof: bool = False,
) -> Passed:
    """Run a proxy until a signal ends it; return a summary of everything that passed.

    Args:
        plan: The settings.
        on_up: Called once the proxy works.
        on_change: Called when the config files were read again.
        on_end: Called when the shutdown begins, and new clients should stay away.
        until_eof: End when stdin is closed, too.

    Raises:
        StartError: the proxy cannot start.
        SystemExit: the proxy cannot start, and the log states the reason.
    """
    bridge = Bridge()
    try:
        asyncio.run(_serve(plan, bridge, on_up, on_change, on_end, until_eof=until_eof))
    except (exceptions.OptionsError, AuthorityError, OSError) as error:
        raise StartError(str(error)) from error
    return bridge.passed


async def _serve(
    plan: Plan,
    bridge: Bridge,
    on_up: Callable[[Master], None],
    on_change: Callable[[Master], None],
    on_end: Callable[[], None],
    *,
    until_eof: bool,
) -> None:
    master = make_master(plan, bridge)
    shutdown = GracefulShutdown(master, bridge, plan.grace_s, on_end)
    bridge.on_change = lambda: on_change(master)
    cast(ReportsStart, master).on_up = lambda: on_up(master)
    handle_signals(shutdown, bridge.reload)
    if until_eof:
        shut_down_at_eof(shutdown)
    await master.run()
