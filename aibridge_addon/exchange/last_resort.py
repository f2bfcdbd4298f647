"""Last resort: sends the client's original request once a provider has refused the edited one.

A gateway must not make a legal request fail. Refusals of the sender or of the moment (401, 403,
429, 5xx) are passed to the client.
"""

import logging

from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.read_request import ReadRequest
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.tools.refused_edits import SECONDS, RefusedEdits

logger = logging.getLogger(__name__)

REFUSED = frozenset({400, 404, 413, 422})
"""Statuses by which providers refuse what a request says."""

_TOO_LONG = (b"too long", b"context_length", b"context length", b"context window")
"""Refusals of one conversation, which say nothing about the next one."""
_MAX_REFUSAL = 16 * 1024
"""Bytes of a refusal that are searched."""

type EditedExchange = BridgedExchange | CountedExchange


class LastResort:
    """Decides when edits are reverted, and remembers which edits were refused."""

    def __init__(self, metrics: Metrics) -> None:
        self.refused_edits = RefusedEdits()
        self._metrics = metrics

    def applies(self, exchange: EditedExchange, status: int) -> bool:
        """Return whether a provider refused a request because of an edit, by its status."""
        return status in REFUSED and exchange.read.is_edited

    def revert(self, exchange: EditedExchange, status: int) -> None:
        """Continue with the client's original request."""
        exchange.revert_edits()
        self._metrics.count_edit_refused(exchange.read.interception.provider_name, status)

    def note(self, read: ReadRequest, refused: int, status: int, refusal: bytes) -> None:
        """Remember the edits if the original request is accepted.

        Args:
            read: the request.
            refused: status of the response to the edited request.
            status: status of the response to the original request.
            refusal: body of the response to the edited request.
        """
        text = refusal[:_MAX_REFUSAL].lower()
        if status >= 400 or any(words in text for words in _TOO_LONG):
            return
        for edit in read.edit_keys:
            self.refused_edits.add(edit)
        logger.warning(
            "aibridge: %s refused (HTTP %d) a request with central tools for model %s, and "
            "accepted the request without it; not added again for %d minutes",
            read.interception.provider_name,
            refused,
            ascii(read.interception.model),
            SECONDS // 60,
        )
