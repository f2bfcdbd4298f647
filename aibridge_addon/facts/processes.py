"""Signs of life of proxy processes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """A sign of life of a proxy process, published every few seconds."""

    id: str
    """The process's `this_process_id`."""
    host: str
    """Name of its machine."""
    pid: int
    version: str
    """Version of this package."""
    started_at: str
    seen_at: str
    ended_at: str | None
    """Time of its regular end; None while it runs."""
    open_requests: int
    """Requests to providers that are open."""
    requests: int
    """Interceptions since its start."""
    cpu_percent: float
    """CPU time in percent of the time since the sign of life before."""
