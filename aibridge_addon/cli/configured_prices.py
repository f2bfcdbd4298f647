"""The prices that commands calculate with: those of the running proxy's configuration."""

from pathlib import Path
from typing import Any

import click

from aibridge_addon.cli import running
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.prices.pricing import PriceBook


def read_prices(config: Path | None) -> PriceBook:
    """Return the prices of a config file, by default of the running proxy's.

    Raises:
        ClickException: the configuration has mistakes.
    """
    from aibridge_addon.config.settings import read_settings

    proxy = running.find()
    options: dict[str, Any] = {}
    if path := str(config or (proxy and proxy.config) or ""):
        options["aibridge_config"] = path
    if proxy and proxy.plugins:
        options["aibridge_plugins"] = ",".join(proxy.plugins)
    try:
        return read_settings(default_values() | options).prices
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
