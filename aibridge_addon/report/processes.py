"""Proxy processes as the reports show them. Times are UTC in ISO 8601."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A proxy process, as it reported last."""

    id: str
    host: str
    pid: int
    version: str
    started_at: str
    seen_at: str
    ended_at: str | None
    """Time of its regular end."""
    open_requests: int
    requests: int
    """Since its start."""
    cpu_percent: float
    read_at: str
    """Time of this report, by the clock that dates `seen_at`."""

    @property
    def silence(self) -> timedelta:
        """Time since its last sign of life."""
        return datetime.fromisoformat(self.read_at) - datetime.fromisoformat(self.seen_at)
