"""The record of a tunnel, to which no interception belongs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelEnded:
    """The end of a tunnel to an AI service that is not read."""

    id: str
    initiator_id: str
    access_token_id: str | None
    host: str
    """The host that the client asked for."""
    service: str
    """Name of the service in the table of unread services, or of a provider instance."""
    started_at: str
    duration_ms: int
    bytes_sent: int
    """Bytes from the client, as they were encrypted."""
    bytes_received: int
    """Bytes to the client, likewise."""
