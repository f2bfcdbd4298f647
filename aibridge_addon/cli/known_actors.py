"""Maps owners of access tokens to the `[[actors]]` of the config file, as records have them."""

from collections.abc import Mapping
from pathlib import Path

from aibridge_addon.cli import running
from aibridge_addon.config.file import read_config_file
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.providers.identity import Actor, actor_named


class KnownActors:
    """The known actors of the running proxy's config file, which is read again when it changes.

    Like the proxy, it goes on with the last version while the file has mistakes.
    """

    def __init__(self) -> None:
        self._version: tuple[str, float] = ("", 0.0)
        self._actors: Mapping[str, Actor] = {}

    def find(self, name: str) -> Actor:
        """Return the actor as which a name is recorded. Reads files."""
        proxy = running.find()
        if proxy and proxy.config:
            self._refresh(proxy.config)
        return actor_named(name, self._actors)

    def _refresh(self, path: str) -> None:
        try:
            version = (path, Path(path).expanduser().stat().st_mtime)
            if version != self._version:
                self._actors = read_config_file(path).known_actors()
                self._version = version
        except (OSError, SettingsError):
            return
