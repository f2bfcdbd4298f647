"""Results of diagnostic checks, which `aibridge doctor` prints."""

from dataclasses import dataclass
from typing import Literal

type Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one diagnostic check. It holds no secret."""

    about: str
    """Subject of the check, such as `database`."""
    level: Level
    """`bad` for a problem, `note` for what is merely worth knowing."""
    what: str
    to_do: str = ""
    """Repair; empty if there is nothing to do."""
