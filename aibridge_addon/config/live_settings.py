"""The settings of a running proxy: read from mitmproxy's options and the files that they name.

The files are watched; when they change, the settings are read again and handed to `on_change`.
"""

import asyncio
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.optmanager import OptManager

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import OPTIONS, OPTIONS_BY_NAME
from aibridge_addon.config.settings import Settings
from aibridge_addon.config.settings_process import read_settings_apart
from aibridge_addon.config.watch import FileWatch

logger = logging.getLogger(__name__)


class LiveSettings:
    """Reads the settings, and again when their files change."""

    current: Settings
    """The settings that were read last."""

    def __init__(self, on_change: Callable[[Settings], None]) -> None:
        self._on_change = on_change
        self._watch = FileWatch(_watched_files, self._read_again)
        self._logged: set[str] = set()
        """Doubts about the config file and mitmproxy's options that were logged."""

    def read(self) -> Settings:
        """Return the settings of mitmproxy's options.

        Raises:
            SettingsError: with all mistakes.
        """
        self._watch.note()
        ours = {option.name: getattr(ctx.options, option.name) for option in OPTIONS}
        # Deferred options are unknown to all addons; a misspelt name would be ignored silently.
        settings = self.current = read_settings_apart(ctx.options.deferred | ours)
        doubts = {*settings.doubts, *_doubts_of_mitmproxy(ctx.options)}
        for doubt in doubts - self._logged:
            logger.warning("aibridge: %s", doubt)
        self._logged |= doubts
        return settings

    def start(self) -> None:
        """Begin to watch the files."""
        self._watch.start()

    def stop(self) -> None:
        """Stop watching the files."""
        self._watch.stop()

    def reload(self) -> None:
        """Read the files again soon; if they are wrong, the settings stay."""
        self._watch.ask()

    async def _read_again(self) -> None:
        try:
            # On a thread: imports take up to a second, in which no stream could continue.
            await asyncio.to_thread(importlib.import_module, "aibridge_addon.config.files")
            settings = self.read()
            if settings.mcp_servers:
                await asyncio.to_thread(importlib.import_module, "aibridge_addon.tools.servers")
                settings = self.read()
        except SettingsError as error:
            for line in str(error).splitlines():
                logger.error("aibridge: the old settings stay: %s", line)
            return
        self._on_change(settings)
        logger.info("aibridge: the configuration was read again")


def _doubts_of_mitmproxy(options: OptManager) -> Iterator[str]:
    """Yield the options of mitmproxy that take requests past the addon."""
    if getattr(options, "stream_large_bodies", None):  # Proxyserver declares it
        yield (
            "stream_large_bodies is set: larger requests pass unread. They are not recorded, no"
            " budget, limit or rule applies to them, and their keys reach the provider masked;"
            " unset it"
        )


def respell_booleans(options: OptManager) -> None:
    """Turn values that `config.yaml` and `--set` give to former boolean options into text."""
    name = "aibridge_ask_chat_usage"
    if name in options.deferred:
        value = options.deferred[name]
        is_bare = getattr(value, "val", None) == []  # --set NAME, without a value
        if is_bare or isinstance(value, bool):
            options.deferred[name] = OPTIONS_BY_NAME[name].respelled(True if is_bare else value)


def _watched_files() -> list[Path]:
    names = (getattr(ctx.options, option.name) for option in OPTIONS if option.watched)
    return [Path(os.path.expanduser(name)) for name in names if name]
