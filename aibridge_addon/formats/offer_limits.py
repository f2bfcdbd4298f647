"""Limits of an API on the tools of a request: their number and their descriptions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.raw_json import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferLimits:
    """Limits that an API sets on tools; None where no limit is known."""

    tools: int | None = None
    """Most tools in a request, the client's own included."""
    description: int | None = None
    """Most characters in a tool's description."""

    def selected(
        self, tools: Sequence[CentralTool], own_names: Sequence[str | None]
    ) -> tuple[CentralTool, ...]:
        """Return the tools that can be offered beside the client's own, whose names win.

        `own_names` has an entry for each tool of the client; some tools have no name.
        """
        used = set(own_names)
        free = tuple(tool for tool in tools if tool.name not in used)
        return free if self.tools is None else free[: max(0, self.tools - len(own_names))]

    def described(self, tool: CentralTool) -> str:
        """Return a tool's description, cut where it is too long."""
        description = tool.description
        if self.description is None or len(description) <= self.description:
            return description
        return description[: self.description - 1] + "…"

    def function(self, tool: CentralTool) -> dict[str, JSON]:
        """Return a tool as a function in the manner of OpenAI, which other APIs follow."""
        return {
            "name": tool.name,
            "description": self.described(tool),
            "parameters": dict(tool.input_schema),
        }
