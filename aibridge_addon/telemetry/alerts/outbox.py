"""Outbox of events that wait for their webhook: a small file each, so that they survive a restart.

The files need no database, which may be what an event is about. They hold no URL and no secret.
After a crash an event may be sent twice; its id is the same then.
"""

import contextlib
import hashlib
import logging
import time
from pathlib import Path
from typing import Any

from aibridge_addon.raw_json import mapping, read
from aibridge_addon.telemetry.alerts.event import EVENT_TYPES, Event

logger = logging.getLogger(__name__)

KEEP_SECONDS = 86_400.0
"""Age after which an event is forgotten."""


class Outbox:
    """A folder of waiting events; it is created with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, receiver: str, event: Event) -> None:
        """Store an event for a receiver."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path(receiver, event)
            path.touch(mode=0o600)
            path.write_bytes(event.body())
        except OSError as error:
            logger.warning("aibridge: an alert would not survive a restart: %s", error)

    def remove(self, receiver: str, event: Event) -> None:
        """Remove an event that does not wait any more."""
        with contextlib.suppress(OSError):
            self._path(receiver, event).unlink()

    def waiting(self, receiver: str) -> list[Event]:
        """Return the events that wait for a receiver, oldest first; forget old ones of all."""
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # another process has sent it meanwhile
                if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                    path.unlink()
        paths = self._folder.glob(f"{_name_of(receiver)}-*.json")
        found = [event for path in paths if (event := _read(path))]
        return sorted(found, key=lambda event: event.at)

    def _path(self, receiver: str, event: Event) -> Path:
        return self._folder / f"{_name_of(receiver)}-{event.id}.json"


def _name_of(receiver: str) -> str:
    return hashlib.sha256(receiver.encode()).hexdigest()[:16]


def _read(path: Path) -> Event | None:
    try:
        members: dict[str, Any] = mapping(read(path.read_bytes()))
    except FileNotFoundError:  # another process has sent it meanwhile
        return None
    if members.get("type") not in EVENT_TYPES:  # written halfway, or by another version
        return None
    return Event(
        type=members["type"],
        text=str(members.get("text", "")).removeprefix(Event.PREFIX),
        figures=mapping(members.get("figures")),
        id=str(members.get("id", "")),
        at=str(members.get("at", "")),
    )


def outbox_beside(location: str, data_folder: Path) -> Outbox:
    """Return the outbox beside a database file, or in the data folder if it is a server."""
    is_server = "://" in location
    return Outbox(data_folder / "alerts" if is_server else Path(f"{location}.alerts"))
