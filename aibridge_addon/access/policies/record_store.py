"""Policy: requests can be recorded (`aibridge_on_record_failure=refuse`)."""

from collections.abc import Callable

from aibridge_addon.access.asked import Asked, Refusal

_RETRY_SECONDS = 10.0


class RecordStore:
    """Refuses requests while the store is unavailable."""

    def __init__(self, can_record: Callable[[], bool]) -> None:
        """Use a function that returns True if the store is available."""
        self._can_record = can_record

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that could not be recorded."""
        if not asked.is_recorded or self._can_record():
            return None
        message = "aibridge: requests cannot be recorded at the moment; try again later."
        return Refusal(
            status=503, reason="not_recorded", message=message, retry_after=_RETRY_SECONDS
        )
