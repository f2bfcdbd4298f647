"""The addon's options as rows: names, defaults, help texts, and readers of their values.

Defaults stand here and in the tables that it joins, and nowhere else. It imports no pydantic, so
that commands start fast.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from aibridge_addon.config.access_options import ACCESS
from aibridge_addon.config.monitoring_options import MONITORING
from aibridge_addon.config.option import Option
from aibridge_addon.config.plugins import read_plugins
from aibridge_addon.config.record_options import RECORD
from aibridge_addon.config.tool_options import TOOLS
from aibridge_addon.config.traffic_options import TRAFFIC
from aibridge_addon.config.view_options import VIEWS

PREFIX = "aibridge_"
"""Prefix of our option names; mitmproxy's own options do not have it."""

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
    *RECORD,
    *ACCESS,
    *TRAFFIC,
    *TOOLS,
    *MONITORING,
    *VIEWS,
)
OPTIONS_BY_NAME = {option.name: option for option in OPTIONS}


def default_values() -> dict[str, Any]:
    """Return the default of each option by its name."""
    return {option.name: option.default_value for option in OPTIONS}


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
