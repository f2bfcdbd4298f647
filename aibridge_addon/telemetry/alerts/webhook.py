"""Configuration and signature of a webhook. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aibridge_addon.telemetry.alerts.event import EventType

SIGNATURE = "X-AIBridge-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of events."""

    url: str = field(repr=False)
    """Often holds a secret."""
    secret: str = field(default="", repr=False)
    """Key of the signature; empty: requests are not signed."""
    events: frozenset[EventType] = field(repr=False)

    @property
    def host(self) -> str:
        """The part of the URL that may be shown."""
        return urlsplit(self.url).hostname or ""

    def headers(self, body: bytes, timestamp: int) -> Mapping[str, str]:
        """Return the headers of a request."""
        headers = {"Content-Type": "application/json"}
        if self.secret:
            headers[SIGNATURE] = sign(self.secret, body, timestamp)
        return headers


def sign(secret: str, body: bytes, timestamp: int) -> str:
    """Return the signature of a body: HMAC-SHA256 of the time, a dot and the body."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"
