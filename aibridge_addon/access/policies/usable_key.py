"""Policy: a request that needs a key of a pool is refused while all keys are out of use."""

from collections.abc import Callable

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.keys.affinity import affinity_of
from aibridge_addon.access.keys.pool import KeyPool
from aibridge_addon.providers.central_keys import model_class

type FindPool = Callable[[str], KeyPool | None]
"""Returns the pool of a provider instance, if it has one."""

KEYS_LIMITED = "rate_limit_exceeded"
KEYS_REFUSED = "keys_refused"


class UsableKey:
    """Refuses what the provider would refuse; state-bound requests get the provider's answer."""

    def __init__(self, find_pool: FindPool) -> None:
        self._find_pool = find_pool

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that no key can be used for."""
        pool = self._find_pool(asked.route.provider.name)
        is_central = asked.credential is not None and asked.credential.kind == "centralized"
        if pool is None or not is_central or not asked.is_recorded or asked.is_message:
            return None
        models = model_class(asked.model)
        seconds = pool.wait_for(models)
        if seconds == 0 or affinity_of("", None, asked.content() or b"").is_bound:
            return None
        return _refusal(asked.route.provider.name, seconds)


def _refusal(name: str, seconds: float | None) -> Refusal:
    if seconds is None:
        return Refusal(
            status=503,
            reason=KEYS_REFUSED,
            message=f"aibridge: no key for provider {name!r} works; tell the operator.",
            failure="credential",
        )
    return Refusal(
        status=429,
        reason=KEYS_LIMITED,
        message=f"aibridge: provider {name!r} limits the rate of this proxy at the moment.",
        retry_after=seconds,
        failure="rate",
    )
