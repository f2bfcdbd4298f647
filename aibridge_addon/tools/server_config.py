"""Configuration of an MCP server. Pure.

`config` reads it from the config file and the `mcpServers` file. Secrets are in no `repr`, and
`hide` removes them from texts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

type Transport = Literal["http", "sse", "stdio"]

HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Address, credentials and tool filter of an MCP server; variables are expanded."""

    name: str
    transport: Transport
    shown_url: str
    """For people, logs and records: as configured, without user, query and expanded values."""
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: str = field(default="", repr=False)
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = field(default=None, repr=False)
    allow: re.Pattern[str] | None = None
    """Offers only the tools whose names it finds a match in; None: all."""
    deny: re.Pattern[str] | None = None
    """Withholds the tools whose names it finds a match in; it wins over `allow`."""
    timeout_s: float | None = None
    """Seconds that a call may take; None: the option `aibridge_tool_call_seconds`."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Texts that no message may contain."""

    def hide(self, text: str) -> str:
        """Return a text with this server's secrets replaced."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text
