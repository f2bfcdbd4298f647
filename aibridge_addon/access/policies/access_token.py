"""Policy: the access token or JWT is known, not expired and not revoked, or none is required."""

from collections.abc import Callable

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.sender import Admission
from aibridge_addon.access.tokens import TokenError


def denied(error: TokenError) -> Refusal:
    """Return the refusal of a request whose access token or JWT is not accepted."""
    return Refusal(
        status=error.status,
        reason=error.reason,
        message=f"aibridge: {error}",
        denies_access=True,
        retry_after=error.retry_after,
    )


class ValidAccessToken:
    """Refuses requests without a valid access token, if the proxy requires it."""

    def __init__(self, check_admission: Callable[[Admission], None]) -> None:
        """Use a check against the access tokens of this moment, which raises `TokenError`."""
        self._check_admission = check_admission

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a missing, unknown, expired or revoked access token."""
        try:
            self._check_admission(asked.sender.admission)
        except TokenError as error:
            return denied(error)
        return None
