"""Says how the requests end that are open when a WebSocket does."""

from aibridge_addon.facts import ProviderError, Status


def end_of_open_requests(*, by_client: bool) -> tuple[Status, ProviderError]:
    """Return the status and the error of requests whose connection one side has closed."""
    return (
        Status.CANCELLED if by_client else Status.FAILED,
        ProviderError(
            type="client_left" if by_client else "upstream_error",
            message="The WebSocket ended before the response did.",
        ),
    )
