"""Policy: the actor of a recorded request is known (`aibridge_require_actor`)."""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.providers.identity import ANONYMOUS


class KnownActor:
    """Refuses anonymous requests."""

    is_constant = True

    def __init__(self, actor_header: str) -> None:
        """Name the actor header in the refusal; it may be empty."""
        self._actor_header = actor_header

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of an anonymous request."""
        if not asked.is_recorded or asked.sender.actor.id != ANONYMOUS:
            return None
        message = "aibridge: this proxy requires an actor, and this request is anonymous."
        if self._actor_header:
            message += f" Send the actor's name in the header {self._actor_header}."
        return Refusal(status=400, reason="no_actor", message=message)
