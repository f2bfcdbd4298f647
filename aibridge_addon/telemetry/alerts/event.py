"""Events that alerts report. They never hold content of prompts or responses. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from aibridge_addon.facts import new_id, now
from aibridge_addon.raw_json import encode

type EventType = Literal[
    "provider_down",
    "provider_up",
    "record_away",
    "record_back",
    "budget_warning",
    "unpriced_model",
    "new_actor",
    "key_set_aside",
    "key_back",
    "circuit_open",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType.__value__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event."""

    PREFIX: ClassVar = "aibridge: "
    """Beginning of the text of a request."""

    type: EventType
    text: str
    """A sentence for people."""
    figures: Mapping[str, str | int | float | None] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    """The same in each attempt to send it, so that a receiver can tell repetitions."""
    at: str = field(default_factory=now)

    def body(self) -> bytes:
        """Return the body of the webhook's request; Slack and others show its `text`."""
        return encode(
            {
                "text": f"{self.PREFIX}{self.text}",
                "id": self.id,
                "type": self.type,
                "at": self.at,
                "figures": self.figures,
            }
        ).encode()
