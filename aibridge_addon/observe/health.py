"""How the proxy is, for whoever watches over it. Pure; it tells no secret and no address."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

from aibridge_addon import __version__

type DatabaseState = Literal["ok", "away", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How it is at one moment."""

    database: DatabaseState
    """`unknown` if the proxy's event loop does not answer in time."""
    mcp_servers: Mapping[str, str] = field(default_factory=dict)
    """By name: up, down or starting."""

    @property
    def http_status(self) -> HTTPStatus:
        """What a probe decides by.

        503 while the database is away: requests may still be answered, but what is to be recorded
        waits on this machine's disk, or they are refused; whoever hands requests out should rather
        take another process. An MCP server that is down is no such reason: models go on without
        its tools, and another process would not reach it either.
        """
        return HTTPStatus.OK if self.database == "ok" else HTTPStatus.SERVICE_UNAVAILABLE

    def as_json(self) -> str:
        """Return it for programs, in one line; `degraded` if anything is not as it should be."""
        is_well = self.database == "ok" and "down" not in self.mcp_servers.values()
        return json.dumps(
            {
                "status": "ok" if is_well else "degraded",
                "database": self.database,
                "mcp_servers": dict(self.mcp_servers),
                "version": __version__,
            }
        )
