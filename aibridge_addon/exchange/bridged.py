"""Bridged exchanges: requests on a recorded route of a wire format."""

from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.delivery import Delivery
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.exchange.recorded import RecordedExchange
from aibridge_addon.interception import InterceptionRecord


class BridgedExchange(RecordedExchange):
    """An interception: a recorded request and its response, perhaps with an inner loop."""

    is_judged = True

    def __init__(self, read: ReadRequest, *, record: InterceptionRecord, commit: Commit) -> None:
        super().__init__(read.client, read.wire_format, record=record, commit=commit)
        self.read = read
        self.asks_for_stream = read.interception.streaming
        self.is_partial = read.is_partial

    def revert_edits(self) -> None:
        """Continue with the response to the client's original request."""
        self.read.is_reverted = True
        self.delivery = Delivery()
        self.record.injected = frozenset()
        self.times = self.record.begin_upstream()

    def send_again(self) -> None:
        """Continue with the response to a further send of the request."""
        self.times = self.record.begin_again()
