"""Provider instances of the table of known hosts."""

from aibridge_addon.providers.builtin.openai import TYPE
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.preset import Preset
from aibridge_addon.providers.presets import PRESETS


def _instance(preset: Preset) -> Provider:
    return Provider(
        name=preset.name,
        type=TYPE.name,
        base_url=preset.base_url,
        hosts=frozenset({preset.host, *preset.hosts}),
        api_key_env=preset.api_key_env,
        anthropic_path=preset.anthropic_path,
        is_optional=True,
    )


INSTANCES = tuple(_instance(preset) for preset in PRESETS.values() if not preset.is_local)
"""Instances of the hosts that are public."""
