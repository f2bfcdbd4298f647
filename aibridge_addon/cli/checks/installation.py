"""`Installation`: everything that the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import Settings, default_settings, read_settings
from aibridge_addon.observe.announcement import RunningProxy

NETWORK_S = 8.0
"""Time limit of a check that uses the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A proxy, its configuration and the environment of its user."""

    proxy: RunningProxy | None = None
    """The running proxy."""
    ca_folder: Path = Path("~/.mitmproxy")
    """mitmproxy's `confdir`."""
    environ: Mapping[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=default_settings)
    """The configuration; the default if it has mistakes."""
    config: str = ""
    """Path of the config file; empty if there is no such file."""
    mistakes: tuple[str, ...] = ()
    """Mistakes in the options and config files."""
    trusted: str | None = None
    """Bundle of CA certificates to trust for providers; None for the default."""


def read_configuration(options: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings that options stand for, and the mistakes in them."""
    values = default_values() | dict(options)
    try:
        return read_settings(values), ()
    except SettingsError as error:
        return default_settings(database=values["aibridge_db"]), tuple(str(error).splitlines())
