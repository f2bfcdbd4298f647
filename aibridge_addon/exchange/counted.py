"""Counted exchanges: requests that count tokens. Not recorded, but edited like their sibling."""

from aibridge_addon.exchange.passing import CountUsage, PassingExchange
from aibridge_addon.exchange.read_request import ReadRequest


class CountedExchange(PassingExchange):
    """A token-counting request; central tools are added to it, so that the count includes them."""

    def __init__(self, read: ReadRequest, *, count_usage: CountUsage) -> None:
        super().__init__(read.client, read.wire_format, count_usage=count_usage)
        self.read = read

    def revert_edits(self) -> None:
        """Continue with the response to the client's original request."""
        self.read.is_reverted = True
