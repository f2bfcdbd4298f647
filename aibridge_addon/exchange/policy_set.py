"""The policies of the proxy: rebuilt by other settings, with counters that outlive them."""

from collections.abc import Callable, Collection

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.policies import (
    Asked,
    BrowserOrigin,
    Policy,
    PolicyContext,
    RateLimits,
    Refusal,
    admit_or_refuse,
    ordered_policies,
)
from aibridge_addon.config.settings import Settings
from aibridge_addon.observe.metrics import Metrics


class PolicySet:
    """Decides about each client request, WebSocket message and upstream request of inner loops.

    `apply` must be called before the first decision.
    """

    browser_origin: BrowserOrigin
    _policies: tuple[Policy, ...]

    def __init__(
        self,
        *,
        admission: AdmissionControl,
        can_record: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._admission = admission
        self._can_record = can_record
        self.rate_limits = RateLimits(metrics.count_limited)

    def apply(self, settings: Settings, *, own_hosts: Collection[str]) -> None:
        """Rebuild the policies; `own_hosts` are the names that the proxy listens on."""
        self.browser_origin = BrowserOrigin(
            allowed_origins=settings.allowed_origins,
            allowed_hosts=settings.allowed_hosts | frozenset(own_hosts),
        )
        self.rate_limits.limits = settings.limits
        self._policies = ordered_policies(
            PolicyContext(
                check_admission=self._admission.check,
                browser_origin=self.browser_origin,
                require_actor=settings.require_actor,
                actor_header=settings.actor_header,
                must_record=settings.refuse_unrecorded,
                can_record=self._can_record,
                model_rules=settings.model_rules,
                rate_limits=self.rate_limits,
            )
        )

    def check(self, asked: Asked) -> Refusal | None:
        """Admit a request, or return its refusal."""
        return admit_or_refuse(self._policies, asked)

    async def check_upstream(self, asked: Asked) -> Refusal | None:
        """Check a further request of an exchange, with the access tokens of this moment."""
        await self._admission.refresh(0)
        return self.check(asked)
