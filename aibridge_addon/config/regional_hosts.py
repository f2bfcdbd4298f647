"""Divides the hosts of a provider type between its instances with `region`. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aibridge_addon.providers.types import PROVIDER_TYPES


def with_regional_hosts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config document whose instances with `region` share no host.

    The first instance of a type has the hosts of all regions, and each further one the host of its
    own region, unless `hosts` is given.
    """
    tables = document.get("providers")
    if not isinstance(tables, list):
        return dict(document)
    seen: set[object] = set()
    divided = []
    for table in tables:
        host = _regional_host(table)
        divided.append({**table, "hosts": [host]} if host and table["type"] in seen else table)
        if host:
            seen.add(table["type"])
    return {**document, "providers": divided}


def _regional_host(table: object) -> str:
    """Return the host of an instance with a region; empty if it has none, or hosts of its own."""
    if not isinstance(table, dict) or "hosts" in table:
        return ""
    region, kind = table.get("region"), PROVIDER_TYPES.get(str(table.get("type")))
    if not isinstance(region, str) or kind is None or not kind.regional_url:
        return ""
    url = table.get("base_url") or kind.url_in(region)
    try:
        return urlsplit(str(url)).hostname or ""
    except ValueError:
        return ""
