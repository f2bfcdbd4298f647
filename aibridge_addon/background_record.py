"""Record of a response that goes on in the background, and that a poll brings to its end. Pure."""

from aibridge_addon.facts import BackgroundResponse, ProviderError, ResponseFacts, Status
from aibridge_addon.interception import NOTHING, InterceptionRecord, Publish
from aibridge_addon.upstream_times import Times


class BackgroundRecord(InterceptionRecord):
    """Publishes the end of a response that went on in the background.

    All polls of the response share it. It ends with the first poll whose response contains the end,
    however other polls end.
    """

    _was_in_background = True

    def __init__(
        self, fact: BackgroundResponse, *, publish: Publish, capture: frozenset[str]
    ) -> None:
        super().__init__(fact.interception, publish=publish, capture=capture)
        self.begun = True
        self._prompted = fact.prompted
        self._fact = fact

    def end(
        self,
        status: Status,
        *,
        response: ResponseFacts = NOTHING,
        http_status: int | None = None,
        error: ProviderError | None = None,
        partial: bool = False,
        first_byte_at: float | None = None,
    ) -> bool:
        """Publish the end if the response contains it, however the poll itself ended."""
        if not self._is_end(response):
            return False
        return super().end(
            Status.FAILED if response.error else Status.COMPLETED,
            response=response,
            http_status=http_status,
            partial=bool(response.unreadable),
        )

    def _is_end(self, response: ResponseFacts) -> bool:
        """Return True if a response contains the end."""
        is_same = response.response_id == self._fact.provider_response_id
        return is_same and not response.pending and response.complete

    def _usage_id(self, response_id: str | None) -> str:
        return self._fact.token_usage_id

    def _times(self) -> Times:
        """Return no duration: a poll comes some time after the end of the response."""
        started_at = self.interception.started_at
        return {"upstream": 0, "started_at": started_at, "duration_ms": None, "ttft_ms": None}
