"""Writes tables of the config file as TOML."""

import json
from typing import Any


def provider_toml(origin: str, kind: str, *hosts: str, **keys: Any) -> str:
    """Return the table of a provider instance at a stand-in; its name is `kind` unless given."""
    values = {"name": kind, "type": kind, "base_url": origin, "hosts": hosts}
    return _table("providers", values | keys)


def server_toml(name: str, **keys: Any) -> str:
    """Return the table of an MCP server."""
    return _table("mcp_servers", {"name": name, **keys})


def _table(name: str, values: dict[str, Any]) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join([f"\n[[{name}]]", *lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
