"""The addon's options as rows: names, defaults, help texts, and readers of their values.

Defaults stand here and in the tables that it joins, and nowhere else. It imports no pydantic, so
that commands start fast.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from platformdirs import user_data_path

from aibridge_addon.config.capture import AUTO, read_capture
from aibridge_addon.config.monitoring_options import MONITORING
from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import (
    KIB,
    MIB,
    at_least,
    capped,
    read_names,
)
from aibridge_addon.config.origins import read_hosts, read_origins
from aibridge_addon.config.plugins import read_plugins
from aibridge_addon.config.private_networks import read_private_networks
from aibridge_addon.config.view_options import VIEWS

PREFIX = "aibridge_"
"""Prefix of our option names; mitmproxy's own options do not have it."""
DEFAULT_DATABASE = user_data_path("aibridge", appauthor=False) / "aibridge.sqlite3"

OPTIONS = (
    Option(
        name="aibridge_config",
        default="",
        help="TOML file with provider instances, known actors and MCP servers.",
        watched=True,
    ),
    Option(
        name="aibridge_plugins",
        setting="plugins",
        read=read_plugins,
        default="",
        help=(
            "Python modules to import at the start, as a comma-separated list. They may register"
            " policies, wire formats, provider types, stores and client programs, and run with all"
            " rights of the proxy."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_db",
        setting="database",
        default=str(DEFAULT_DATABASE),
        help=(
            "Database for all records: the path of a SQLite database, which is created if it does"
            " not exist, postgresql://…, or the location of a store that a plugin registers."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_recorder",
        setting="recorder",
        default="",
        help="Your own recorder, as module:Class, instead of the SQLite database.",
        fixed=True,
    ),
    Option(
        name="aibridge_on_record_failure",
        setting="refuse_unrecorded",
        read=lambda value: value == "refuse",
        default="relay",
        choices=("relay", "refuse"),
        help=(
            "While the database is unavailable: 'relay' passes requests on and spools their"
            " records; 'refuse' answers bridged requests with 503."
        ),
    ),
    Option(
        name="aibridge_retention_days",
        setting="retention_days",
        read=capped(),
        default=0,
        help="Delete interceptions and their details after this many days. 0: never.",
        fixed=True,
    ),
    Option(
        name="aibridge_content_days",
        setting="content_days",
        read=capped(),
        default=0,
        help=(
            "Delete recorded requests and responses (answers, results, system, requests) after this"
            " many days; the rest of the record stays. 0: with the rest."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_tool_memory_days",
        setting="tool_memory_days",
        read=capped(),
        default=30,
        help=(
            "Store hidden turns for this many days, so that later requests of a conversation"
            " contain the results of central tools. 0: forever."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_commit_wait_ms",
        setting="commit_wait",
        read=at_least(0, unit=0.001),
        default=2000,
        help="Maximum milliseconds that the end of a response waits until it is recorded.",
    ),
    Option(
        name="aibridge_capture",
        setting="capture",
        read=read_capture,
        default=AUTO,
        help=(
            "Content to record besides token counts, as a comma-separated list of prompts, tools,"
            " thoughts, answers, results, system and requests; all: everything; empty: none. auto:"
            " all at a proxy that only its own machine can use, else prompts,tools,thoughts."
        ),
    ),
    Option(
        name="aibridge_redact",
        setting="redact",
        default=True,
        help=(
            "Replace API keys, passwords in URLs and other secrets by marks in what is recorded."
            " Requests and responses stay unchanged."
        ),
    ),
    Option(
        name="aibridge_require_actor",
        setting="require_actor",
        default=False,
        help="Refuse bridged requests whose actor would be anonymous.",
    ),
    Option(
        name="aibridge_actor_header",
        setting="actor_header",
        read=lambda value: value.strip().lower(),
        default="X-AIBridge-Actor",
        help=(
            "Request header that names the actor. It is never sent to the provider. Any client can"
            " set it: leave it empty if clients are not trusted."
        ),
    ),
    Option(
        name="aibridge_require_token",
        setting="require_token",
        default="auto",
        choices=("auto", "always", "never"),
        help=(
            "Require access tokens from clients, for tunnels too: 'auto' as soon as the first"
            " access token exists, 'always', or 'never'."
        ),
    ),
    Option(
        name="aibridge_allow_open",
        setting="allow_open",
        default=False,
        help="Allow listening on non-loopback addresses without authentication.",
        fixed=True,
    ),
    Option(
        name="aibridge_allowed_origins",
        setting="allowed_origins",
        read=read_origins,
        default="",
        help=(
            "Web origins whose pages may use the reverse proxy, as a comma-separated list such as"
            " https://app.example.com, or * for all. Without an access token, pages of other"
            " origins cannot use central keys and central tools."
        ),
    ),
    Option(
        name="aibridge_allowed_hosts",
        setting="allowed_hosts",
        read=read_hosts,
        default="",
        help=(
            "Host names by which clients without an access token may use the reverse proxy, as a"
            " comma-separated list, or * for all. Loopback names, IP addresses and the name that"
            " the proxy listens on are always allowed."
        ),
    ),
    Option(
        name="aibridge_private_networks",
        setting="private",
        read=read_private_networks,
        default="",
        help=(
            "Non-public destinations that clients may connect to through the proxy, as a"
            " comma-separated list of networks, addresses and host names, or * for all. Provider"
            " hosts from the config file are always allowed."
        ),
    ),
    Option(
        name="aibridge_max_connections",
        setting="max_connections",
        read=capped(),
        default=4096,
        help=(
            "Maximum number of open client connections; further connections are closed. Each needs"
            " at least two file descriptors. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_max_connections_per_address",
        setting="max_connections_per_address",
        read=capped(),
        default=0,
        help=(
            "Maximum number of open connections from one client address; further connections are"
            " closed. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_first_request_seconds",
        setting="first_request_seconds",
        read=capped(),
        default=120,
        help="Close client connections without a request after this many seconds. 0: never.",
    ),
    Option(
        name="aibridge_held_bodies_mib",
        setting="held_bodies",
        read=capped(unit=MIB),
        default=1024,
        help=(
            "Maximum MiB of all request bodies in memory together. A request that would exceed it"
            " is answered with 503. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_intercept",
        setting="intercept",
        default="*",
        help=(
            "Built-in provider instances that the forward proxy intercepts, as a comma-separated"
            " list of names or shell patterns. Connections to hosts of others are tunnelled."
        ),
        read=read_names,
    ),
    Option(
        name="aibridge_ask_chat_usage",
        setting="ask_chat_usage",
        default="auto",
        choices=("auto", "always", "never"),
        old_spellings={"true": "always", "false": "never"},
        help=(
            "Request usage for Chat Completions streams where the client does not, and remove the"
            " extra chunk from the response: 'auto' in the reverse proxy, from providers that are"
            " known to accept it; 'always'; or 'never'. It changes the request; without it, most"
            " providers report no usage for streams."
        ),
    ),
    Option(
        name="aibridge_max_body_mib",
        setting="max_body_bytes",
        read=at_least(1, unit=MIB),
        default=64,
        help=(
            "Maximum MiB of a body that is read. Larger bodies are relayed and recorded as partial."
            " A larger WebSocket message closes its connection with status 1009."
        ),
    ),
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
    *MONITORING,
    *VIEWS,
)
OPTIONS_BY_NAME = {option.name: option for option in OPTIONS}


def default_values() -> dict[str, Any]:
    """Return the default of each option by its name."""
    return {option.name: option.default for option in OPTIONS}


def unknown_options(names: Iterable[str]) -> list[str]:
    """Return a mistake for each name that has our prefix but is not an option."""
    ours = (name for name in names if name.startswith(PREFIX))
    return [unknown_option(name) for name in ours if name not in OPTIONS_BY_NAME]


def unknown_option(name: str) -> str:
    """Return the mistake of an option name that does not exist, with the closest that does."""
    known = [option.name.removeprefix(PREFIX) for option in OPTIONS]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
    hint = f"did you mean {PREFIX}{close[0]}?" if close else "see the options in the documentation"
    return f"{name} is not known; {hint}"
