"""Looks up known hosts in the table of presets. Pure."""

from collections.abc import Mapping

from aibridge_addon.providers.hosts import HostTable
from aibridge_addon.providers.preset import Preset
from aibridge_addon.providers.presets import PRESETS

_BY_HOST = HostTable(
    (host, preset)
    for preset in PRESETS.values()
    if not preset.is_local
    for host in (preset.host, *preset.hosts)
)
_OPENAI = "api.openai.com"
"""OpenAI's own host, whose Chat Completions streams have usage if it is asked for."""


def preset_of_host(host: str) -> Preset | None:
    """Return the row of a host; None if it is not known."""
    return _BY_HOST.exact(host) or _BY_HOST.by_pattern(host)


def takes_include_usage(host: str) -> bool:
    """Return True if a host is known to accept `stream_options.include_usage`, and to need it."""
    preset = preset_of_host(host)
    is_openai = host == _OPENAI or host.endswith(f".{_OPENAI}")
    return is_openai or (preset is not None and preset.stream_usage == "asked")


def values_of_preset(preset: Preset, *, has_url: bool) -> Mapping[str, object]:
    """Return the values of a row as the keys of `[[providers]]` have them.

    Args:
        preset: The row.
        has_url: True if another URL is given, so that the hosts of the row are not meant.
    """
    values: dict[str, object] = {
        "name": preset.name,
        "type": preset.type,
        "base_url": preset.base_url,
        "api_key_env": preset.api_key_env,
        "anthropic_path": preset.anthropic_path,
        "include_usage": preset.stream_usage == "asked" or None,
        "price_as": preset.seller,
    }
    if not (preset.is_local or has_url):
        values["hosts"] = [preset.host, *preset.hosts]
    return values
