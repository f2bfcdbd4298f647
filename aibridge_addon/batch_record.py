"""Record of a batch, whose usage comes with a later poll or with its results. Pure."""

import hashlib
from dataclasses import replace
from typing import Any

from aibridge_addon.background_record import BackgroundRecord
from aibridge_addon.facts import (
    BackgroundResponse,
    ProviderError,
    ResponseFacts,
    Status,
    TokenUsage,
    Usage,
    derived_id,
)
from aibridge_addon.interception import NOTHING, Publish


class BatchRecord(BackgroundRecord):
    """Publishes the usage of a batch once, however often and by whom its results are read.

    What the store has already, because another process read it, is not published again. Results
    are read line by line, and may break off: each line has a usage of its own, with an id
    that is made of the batch and the line. A batch that was created elsewhere is recorded as the
    interception of its first poll that brings usage.
    """

    _may_be_read_again = True

    def __init__(
        self,
        fact: BackgroundResponse,
        *,
        publish: Publish,
        capture: frozenset[str],
        is_new: bool = False,
    ) -> None:
        super().__init__(fact, publish=publish, capture=capture)
        self.bodies.wants_responses = False  # results may be very large
        self._is_new = is_new
        """True if nothing of the batch has been published."""
        self._lines: set[bytes] = set()
        """Digests of the lines whose usage was published."""

    def usage_so_far(self, response: ResponseFacts) -> None:
        """Publish the usage of some lines of the results."""
        for usage in response.hidden_usages:
            digest = hashlib.blake2b(str(usage.key).encode(), digest_size=8).digest()
            if digest not in self._lines and not self.ended:
                self._lines.add(digest)
                self._begin_new()
                self._publish_response(ResponseFacts(hidden_usages=(usage,)))

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
        """Publish the end if the response has it: a state with usage, or all of the results."""
        if response.response_id is None and status is Status.COMPLETED and response.complete:
            response = replace(response, response_id=self._fact.provider_response_id)
        if response.pending and response.results_id and not self.ended:
            results_id = response.results_id
            self._publish(replace(self._fact, provider_response_id=results_id, is_further_id=True))
        if self._is_end(response):
            self._begin_new()
        return super().end(
            status,
            response=response,
            http_status=http_status,
            error=error,
            partial=partial,
            first_byte_at=first_byte_at,
        )

    def _publish_usage(self, fact: TokenUsage) -> None:
        if fact.id not in self._fact.usages:  # otherwise it would be counted again
            super()._publish_usage(fact)

    def _publish_end(self, *ending: Any) -> None:
        if not self._fact.has_ended:
            super()._publish_end(*ending)

    def _begin_new(self) -> None:
        if self._is_new:
            self._is_new = False
            self._publish(self.interception)
            self._publish(self._fact)

    def _usage_values(self, response: ResponseFacts, usage: Usage) -> dict[str, Any]:
        values = super()._usage_values(response, usage)
        if usage.key is None:
            return values
        id_ = derived_id(self._fact.token_usage_id, usage.key)
        return values | {"id": id_, "provider_response_id": usage.response_id}
