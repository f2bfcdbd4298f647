"""Bodies of one interception: published as facts, as far as their content is recorded. Pure.

Bodies are only passed on here; a recorder reads, redacts and splits them on its own thread.
"""

from collections.abc import Callable

from aibridge_addon.facts import Interception, RequestContent, ResponseContent, now

type PublishContent = Callable[[RequestContent | ResponseContent], None]

REQUEST_WORDS = frozenset({"requests", "results", "system"})
"""Words of `aibridge_capture` for which the bodies of requests are needed."""
MOST_BYTES = 8 * 1024 * 1024
"""Largest body whose content is recorded: to read a larger one would delay other records."""
RESPONSE_WORDS = frozenset({"answers"})


class CapturedBodies:
    """Publishes requests at once, and responses before the end of the interception."""

    def __init__(
        self, interception: Interception, *, publish: PublishContent, capture: frozenset[str]
    ) -> None:
        self.wants_responses = bool(capture & RESPONSE_WORDS)
        """True if the bodies of responses must be collected."""
        self._wants_requests = bool(capture & REQUEST_WORDS)
        self.interception = interception
        """The facts of the bodies name it."""
        self._publish = publish
        self._capture = capture
        self._responses: dict[int, ResponseContent] = {}
        """Responses that are not published yet, by the number of their upstream request."""
        self._has_ended = False

    def note_request(self, upstream: int, body: bytes) -> None:
        """Publish the decoded body of a request, unless it is empty or too large."""
        if not self._wants_requests or not 0 < len(body) <= MOST_BYTES:
            return
        self._publish(
            RequestContent(
                interception=self.interception,
                upstream=upstream,
                body=body,
                capture=self._capture,
                created_at=now(),
            )
        )

    def note_response(
        self, upstream: int, body: bytes, *, status: int, response_id: str | None = None
    ) -> None:
        """Note the decoded body of a response; a later one of the same request replaces it."""
        if not self.wants_responses or not 0 < len(body) <= MOST_BYTES:
            return
        self._responses[upstream] = ResponseContent(
            interception=self.interception,
            upstream=upstream,
            provider_response_id=response_id,
            body=body,
            status=status,
            capture=self._capture,
            created_at=now(),
        )
        if self._has_ended:  # an inner loop was cancelled
            self.publish_responses()

    def publish_responses(self) -> None:
        """Publish the noted responses, and from now on each at once."""
        self._has_ended = True
        responses, self._responses = self._responses, {}
        for content in responses.values():
            self._publish(content)
