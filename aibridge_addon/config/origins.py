"""Readers of the options that list web origins and host names. Pure."""

import re

from aibridge_addon.access.policies.browser_origin import ANY, normalized_origin
from aibridge_addon.addresses import literal
from aibridge_addon.config.option_values import quoted, split_list

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*@?#]*")
_NO_ORIGIN = "null"
"""Sent by sandboxed pages and local files."""


def read_origins(value: str) -> frozenset[str]:
    """Read the option `aibridge_allowed_origins`.

    Raises:
        ValueError: an entry is not an origin.
    """
    origins = [normalized_origin(entry) for entry in split_list(value)]
    if wrong := [entry for entry in origins if not _is_origin(entry)]:
        raise ValueError(
            f"has {quoted(wrong)}; it may list origins such as https://app.example.com, without a"
            " path, or be * for all"
        )
    return frozenset(origins)


def read_hosts(value: str) -> frozenset[str]:
    """Read the option `aibridge_allowed_hosts`.

    Raises:
        ValueError: an entry is not a host name.
    """
    hosts = [entry.lower().removesuffix(".") for entry in split_list(value)]
    if wrong := [entry for entry in hosts if entry != ANY and not is_host_name(entry)]:
        raise ValueError(
            f"has {quoted(wrong)}; it may list host names such as proxy.example.com, without a"
            " scheme or port, or be * for all"
        )
    return frozenset(hosts)


def is_host_name(text: str) -> bool:
    """Return True if a text in lower case is a host name and not an address."""
    # A name that ends in digits is a misspelled address, which the system may read as another one.
    is_number = literal(text) is not None or text.rpartition(".")[2].isdigit()
    return _HOST_NAME.fullmatch(text) is not None and not is_number


def _is_origin(text: str) -> bool:
    return text in (ANY, _NO_ORIGIN) or _ORIGIN.fullmatch(text) is not None
