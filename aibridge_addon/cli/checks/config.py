"""Checks the options and the config files."""

import os
from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.findings import Finding


def check_config(installation: Installation) -> Iterator[Finding]:
    """Check the configuration for mistakes, and for values that are probably mistakes."""
    if installation.mistakes:
        for mistake in installation.mistakes:
            to_do = _repair(mistake, installation.config)
            yield Finding(about="config", level="bad", what=mistake, to_do=to_do)
        return
    settings = installation.settings
    names = ", ".join(provider.name for provider in settings.providers)
    what = f"{installation.config or 'no config file'}; providers: {names}"
    yield Finding(about="config", level="ok", what=what)
    for doubt in settings.doubts:
        to_do = "see `base_url` in the documentation of the config file"
        yield Finding(about="config", level="note", what=doubt, to_do=to_do)


def _repair(mistake: str, path: str) -> str:
    if mistake.startswith(f"aibridge_config {path} is not TOML"):
        return "correct its syntax"
    if path and not os.access(Path(path).expanduser(), os.R_OK):
        return "check the path, and that the file can be read"
    return "see this key or option in the documentation of the configuration"
