"""Options of central tools, as rows of `options`."""

from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import KIB, at_least

TOOLS = (
    Option(
        name="aibridge_mcp_config",
        default="",
        help=(
            "mcpServers JSON file, as Claude Code and Cursor use it: MCP servers whose tools are"
            " offered to every client."
        ),
        watched=True,
    ),
    Option(
        name="aibridge_tool_call_seconds",
        setting="tool_call_seconds",
        read=at_least(1),
        default=60,
        help=(
            "Timeout in seconds of an MCP tool call that reports no progress. A server's timeout_s"
            " takes precedence."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_tool_call_max_seconds",
        setting="tool_call_max_seconds",
        read=at_least(1),
        default=600,
        help="Maximum duration in seconds of an MCP tool call that reports progress.",
        fixed=True,
    ),
    Option(
        name="aibridge_tool_result_kib",
        setting="tool_result_bytes",
        read=at_least(1, unit=KIB),
        default=256,
        help="Maximum KiB of an MCP tool's result for the model; the rest is cut off.",
        fixed=True,
    ),
    Option(
        name="aibridge_tool_iterations",
        setting="tool_iterations",
        read=at_least(1),
        default=25,
        help=(
            "Maximum number of consecutive responses that call MCP tools, before the model is"
            " instructed to stop."
        ),
    ),
    Option(
        name="aibridge_tool_loop_seconds",
        setting="tool_loop_seconds",
        read=at_least(1),
        default=600,
        help="Maximum seconds of tool calls and upstream requests within one client request.",
    ),
)
