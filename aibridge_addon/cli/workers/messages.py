"""Messages between the supervisor and its workers, one line of JSON each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aibridge_addon.cli.plan import Plan
from aibridge_addon.observe.announcement import RunningProxy, from_json

QUESTION = b"report\n"
"""Asks a worker for a `Report`. When its stdin is closed, a worker ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The first line that a worker reads."""

    plan: Plan
    descriptors: Mapping[tuple[str, int], int]
    """Inherited listening sockets by address."""
    counts: int
    """Inherited descriptor of the numbers of connections of all workers."""
    slot: int = 0
    """Slot of the worker in `counts`."""
    log_format: str
    verbose: bool

    def as_line(self) -> bytes:
        """Return the line."""
        values = asdict(self)
        values["descriptors"] = [[*address, fd] for address, fd in self.descriptors.items()]
        return json.dumps(values).encode() + b"\n"


def read_assignment(line: bytes) -> Assignment:
    """Return the assignment in a line."""
    values = json.loads(line)
    plan = values.pop("plan")
    tuples = {name: tuple(plan[name]) for name in ("modes", "sets")}
    descriptors = {(host, port): fd for host, port, fd in values.pop("descriptors")}
    return Assignment(plan=Plan(**(plan | tuples)), descriptors=descriptors, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """State of a worker."""

    metrics: str
    """As Prometheus reads it."""
    health: str
    """`Health` as JSON."""
    open_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A line from a worker; exactly one member is set."""

    up: RunningProxy | None = None
    """It accepts connections."""
    changed: RunningProxy | None = None
    """It has read its config files again."""
    report: Report | None = None

    def as_line(self) -> str:
        """Return the line, without its end."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})


def read_message(line: bytes) -> Message:
    """Return the message in a line.

    Raises:
        ValueError, TypeError: it is not a message.
    """
    readers: dict[str, Any] = {
        "up": from_json,
        "changed": from_json,
        "report": lambda values: Report(**values),
    }
    return Message(**{name: readers[name](value) for name, value in json.loads(line).items()})
