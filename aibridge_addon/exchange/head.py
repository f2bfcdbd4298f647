"""The head of a request, before its body is complete."""

from dataclasses import dataclass

from aibridge_addon.access.sender import Admission
from aibridge_addon.exchange.client_request import ClientRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request that has no route: to no provider, or refused by its path."""

    admission: Admission


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedHead(Head):
    """The head of a request to a provider instance."""

    request: ClientRequest
    proxy_user: str | None
    """The user of mitmproxy's own authentication."""
