"""Options that name web origins and host names."""

import re

from aibridge_addon.access.policies.browser_origin import ANY, normalized_origin
from aibridge_addon.addresses import literal
from aibridge_addon.config.mistakes import SettingsError

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*@?#]*")
_NO_ORIGIN = "null"
"""Sent by sandboxed pages and local files."""


def read_origins(value: str) -> frozenset[str]:
    """Read the option `aibridge_allowed_origins`.

    Raises:
        SettingsError: an entry is not an origin.
    """
    origins = [normalized_origin(entry) for entry in _entries(value)]
    if wrong := [entry for entry in origins if not _is_origin(entry)]:
        raise SettingsError(
            f"aibridge_allowed_origins has {_listed(wrong)}; it may list origins such as"
            " https://app.example.com, without a path, or be * for all"
        )
    return frozenset(origins)


def read_hosts(value: str) -> frozenset[str]:
    """Read the option `aibridge_allowed_hosts`.

    Raises:
        SettingsError: an entry is not a host name.
    """
    hosts = [entry.lower().removesuffix(".") for entry in _entries(value)]
    if wrong := [entry for entry in hosts if entry != ANY and not is_host_name(entry)]:
        raise SettingsError(
            f"aibridge_allowed_hosts has {_listed(wrong)}; it may list host names such as"
            " proxy.example.com, without a scheme or port, or be * for all"
        )
    return frozenset(hosts)


def is_host_name(text: str) -> bool:
    """Return whether a text in lower case is a host name."""
    # Not an address with a mistake, which may well be one of another kind to the system.
    is_number = literal(text) is not None or text.rpartition(".")[2].isdigit()
    return _HOST_NAME.fullmatch(text) is not None and not is_number


def _is_origin(text: str) -> bool:
    return text in (ANY, _NO_ORIGIN) or _ORIGIN.fullmatch(text) is not None


def _entries(value: str) -> list[str]:
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _listed(entries: list[str]) -> str:
    return ", ".join(map(repr, entries))
