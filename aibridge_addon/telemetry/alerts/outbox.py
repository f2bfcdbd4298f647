"""Outbox of events that wait for their webhook: a small file each, so that they survive a restart.

The files need no database, which may be what an event is about. They hold no URL and no secret.
Each belongs to the process that sends it, whose lock shows that it lives; after its end, another
process takes them over. After a crash an event may be sent twice; its id is the same then.
"""

import contextlib
import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from aibridge_addon.facts import new_id
from aibridge_addon.file_locks import in_turn, lock
from aibridge_addon.raw_json import mapping, read
from aibridge_addon.telemetry.alerts.event import EVENT_TYPES, Event

logger = logging.getLogger(__name__)

KEEP_SECONDS = 86_400.0
"""Age after which an event is forgotten."""


class Outbox:
    """A folder of waiting events; it is created with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = new_id()
        self._lock: int | None = None

    def add(self, receiver: str, event: Event) -> None:
        """Store an event for a receiver."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._show_life()
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
        """Take over the events of processes that have ended, and forget old ones of all.

        Returns:
            The events of this process that wait for a receiver, oldest first.
        """
        if not self._folder.is_dir():
            return []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # another process has sent it meanwhile
                if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                    path.unlink()
        try:
            self._show_life()
            with in_turn(self._folder / "turn.lock"):
                self._take_over(receiver)
        except OSError as error:
            logger.warning("aibridge: alerts that wait are not taken over: %s", error)
        paths = self._folder.glob(f"{_name_of(receiver)}-*.{self._owner}.json")
        found = [event for path in paths if (event := _read(path))]
        return sorted(found, key=lambda event: event.at)

    def close(self) -> None:
        """Leave the events that wait to other processes."""
        if self._lock is not None:
            self._life_of(self._owner).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _path(self, receiver: str, event: Event) -> Path:
        return self._folder / f"{_name_of(receiver)}-{event.id}.{self._owner}.json"

    def _life_of(self, owner: str) -> Path:
        """Return the file that a process locks as long as it lives."""
        return self._folder / f"{owner}.lock"

    def _show_life(self) -> None:
        if self._lock is None:
            path = self._life_of(self._owner)
            path.touch(mode=0o600)
            self._lock = lock(path)

    def _take_over(self, receiver: str) -> None:
        living = {self._owner: True}
        for path in self._folder.glob(f"{_name_of(receiver)}-*.json"):
            event_id, _, owner = path.stem.partition(".")
            if owner not in living:
                living[owner] = self._is_alive(owner)
            if not living[owner]:
                with contextlib.suppress(FileNotFoundError):  # it was sent meanwhile
                    path.rename(self._folder / f"{event_id}.{self._owner}.json")

    def _is_alive(self, owner: str) -> bool:
        path = self._life_of(owner)
        try:
            descriptor = lock(path)
        except FileNotFoundError:
            return False
        if descriptor is None:
            return True
        path.unlink(missing_ok=True)
        os.close(descriptor)
        return False


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
