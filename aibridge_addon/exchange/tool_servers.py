"""Starts the central MCP servers once some are configured, and offers their tools in requests."""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.central_tools import CentralTools
from aibridge_addon.exchange.follow_up import FollowUps
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.tools.attempts import Attempts
from aibridge_addon.tools.ledger import Ledger
from aibridge_addon.tools.refused_edits import RefusedEdits

if TYPE_CHECKING:
    from aibridge_addon.tools.server import ServerStatus
    from aibridge_addon.tools.servers import ToolServers


class CentralServers:
    """The servers of all settings so far; a later configuration updates them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        attempts: Attempts,
        follow_ups: FollowUps,
        refused_edits: RefusedEdits,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._attempts = attempts
        self._follow_ups = follow_ups
        self._refused_edits = refused_edits
        self._metrics = metrics
        self._servers: ToolServers | None = None

    def use(self, settings: Settings) -> CentralTools | None:
        """Start or update the servers; return the edit that offers their tools, if any."""
        if self._servers is not None:
            self._servers.update(settings.mcp_servers)
        elif settings.mcp_servers:
            self._servers = self._start(settings)
        self._show()
        if self._servers is None or not settings.mcp_servers:
            return None
        return CentralTools(
            settings,
            servers=self._servers,
            ledger=self._ledger,
            attempts=self._attempts,
            follow_ups=self._follow_ups,
            metrics=self._metrics,
            refused_edits=self._refused_edits,
        )

    def status(self) -> Sequence["ServerStatus"]:
        """Return the state of each server."""
        return self._servers.status() if self._servers else ()

    def stop(self) -> Awaitable[None] | None:
        """Stop the servers; return what must be awaited, if anything."""
        return self._servers.stop() if self._servers else None

    def _start(self, settings: Settings) -> "ToolServers":
        # Only here: the mcp package costs 20 MiB of memory.
        from aibridge_addon.tools.servers import ToolServers

        servers = ToolServers(
            settings.mcp_servers,
            max_result_bytes=settings.tool_result_bytes,
            default_timeout=settings.tool_call_seconds,
            call_seconds_in_all=settings.tool_call_max_seconds,
            on_event=lambda name, event: self._show(),
        )
        servers.start()
        return servers

    def _show(self) -> None:
        if self._servers:
            self._metrics.show_mcp_servers(self._servers.status())
