"""Policy: actors that the operator has revoked are refused, however they prove who they are."""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.patterns import matches_any


class RevokedActors:
    """Refuses the requests of revoked actors."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Refuse these names or shell patterns; there is at least one."""
        self._names = names

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a revoked actor."""
        if not matches_any(asked.sender.actor.id, self._names):
            return None
        message = f"aibridge: the access of {asked.sender.actor.id} to this proxy was revoked."
        return Refusal(status=400, reason="revoked_actor", message=message, denies_access=True)
