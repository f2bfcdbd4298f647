"""Delivery: the edits between a provider's response and the bytes that the client receives.

The base class edits nothing. `inner_delivery` is the delivery of an inner loop.
"""

from collections.abc import Callable

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.relay.body_tap import BodyTap, PassText, Splice, Withhold, pass_no_text


class Delivery:
    """Delivers a response as the provider sent it, except for the events that are withheld."""

    needs_complete_body = False
    """True if a response that does not stream must be buffered, however large it is."""
    splice: Splice | None = None
    pass_text: PassText = staticmethod(pass_no_text)

    def __init__(self, withhold: Withhold | None = None) -> None:
        self.withhold = withhold

    @property
    def edits_events(self) -> bool:
        """True if the client may receive other bytes than the provider sent."""
        return self.withhold is not None or self.splice is not None

    @property
    def error(self) -> ProviderError | None:
        """The error that ended the delivery itself, if any."""
        return None

    def facts(self, read: Callable[[], ResponseFacts]) -> ResponseFacts:
        """Return the facts of the response; `read` returns those of the provider's first one."""
        return read()

    async def resume(self, tap: BodyTap) -> None:
        """Give the tap of a streamed response what the client receives next."""

    async def complete(self) -> None:
        """Turn the flow's buffered response into the client's."""

    async def close(self) -> None:
        """Cancel whatever runs."""
