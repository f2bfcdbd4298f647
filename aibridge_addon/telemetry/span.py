"""A span as a value, before any SDK sees it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

type Value = str | bool | int | float | Sequence[str]
type Attributes = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span and its children."""

    name: str
    kind: Literal["server", "client", "internal"]
    begin: datetime
    end: datetime
    attributes: Attributes = field(default_factory=dict)
    error: str | None = None
    """Description of an error; None: none occurred."""
    children: tuple["Span", ...] = ()


def moment(text: str) -> datetime:
    """Return the time of a fact."""
    return datetime.fromisoformat(text)


def after(begin: datetime, milliseconds: int | None, otherwise: datetime) -> datetime:
    """Return the end of what began at a time; a span never ends before it begins."""
    if milliseconds is None:
        return max(begin, otherwise)
    return begin + timedelta(milliseconds=max(0, milliseconds))
