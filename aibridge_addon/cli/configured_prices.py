"""The prices that commands calculate with: those of the running proxy's configuration."""

from pathlib import Path

import click

from aibridge_addon.cli import running
from aibridge_addon.cli.plugins import import_plugins_for
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.prices.pricing import PriceBook


def read_prices(config: Path | None) -> PriceBook:
    """Return the prices of a config file, by default of the running proxy's.

    Only tables of prices and providers are used: guardrails, and variables of the environment that
    MCP servers and webhooks need, may be known to the proxy alone.

    Raises:
        ClickException: the configuration has mistakes.
    """
    from aibridge_addon.config.file import read_config_file

    proxy = running.find()
    try:
        # Before the config file, which may name what a plugin registers.
        import_plugins_for(proxy)
        return read_config_file(str(config or (proxy and proxy.config) or "")).price_book()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
