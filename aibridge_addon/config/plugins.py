"""Imports the modules that the option `aibridge_plugins` names.

A plugin registers its wire formats, provider types, policies or stores when it is imported. It runs
with all rights of the proxy, so only the operator can name one.
"""

import importlib
from collections.abc import Iterable

from aibridge_addon.config.mistakes import SettingsError


def read_plugins(value: str) -> tuple[str, ...]:
    """Return the module names of the option, a comma-separated list, each once."""
    names = (name.strip() for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def import_plugins(names: Iterable[str]) -> None:
    """Import plugin modules in order; a module that is imported already is not run again.

    Raises:
        SettingsError: with a line for each module that cannot be imported.
    """
    mistakes = [mistake for name in names if (mistake := _import_mistake(name))]
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def _import_mistake(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return (
                f"aibridge_plugins: there is no module {name!r}; install it where aibridge_addon"
                " is installed, or add its folder to PYTHONPATH"
            )
        return _failed(name, error)
    except Exception as error:  # noqa: BLE001 the edge: a plugin can raise anything
        return _failed(name, error)
    return None


def _failed(name: str, error: Exception) -> str:
    # In one line: a mistake of the settings is a line of the log.
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"aibridge_plugins: importing the module {name!r} failed: {reason}"
