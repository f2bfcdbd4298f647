"""Imports the plugins that a command needs: those of `AIBRIDGE_PLUGINS`, and of a proxy."""

import os

from aibridge_addon.observe.announcement import RunningProxy

PLUGINS_VARIABLE = "AIBRIDGE_PLUGINS"
"""Environment variable with the value of `aibridge_plugins` for commands without a proxy."""


def import_plugins_for(proxy: RunningProxy | None) -> None:
    """Import the plugins; without plugins, this costs nothing.

    Raises:
        SettingsError: a plugin cannot be imported.
    """
    variable = os.environ.get(PLUGINS_VARIABLE, "")
    names = proxy.plugins if proxy else ()
    if not (variable or names):
        return
    from aibridge_addon.config.plugins import import_plugins, read_plugins

    import_plugins((*read_plugins(variable), *names))
