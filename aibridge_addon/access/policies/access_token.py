"""Policy: the access token is known, not expired and not revoked, or none is required."""

from collections.abc import Callable

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.sender import Admission
from aibridge_addon.access.tokens import TokenError


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
            return Refusal(
                status=400, reason=error.reason, message=f"aibridge: {error}", denies_access=True
            )
        return None
