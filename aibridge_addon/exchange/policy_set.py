"""The policies of the proxy: rebuilt by other settings, with counters that outlive them."""

from collections.abc import Callable, Collection

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.guardrails import Guardrails
from aibridge_addon.access.limits.book import LimitBook
from aibridge_addon.access.policies import (
    Asked,
    BrowserOrigin,
    CircuitBreakers,
    Policy,
    PolicyContext,
    RateLimits,
    Refusal,
    admit,
    admit_or_refuse,
    find_refusal,
    is_registered,
    ordered_policies,
)
from aibridge_addon.access.policies.circuit_breaker import OnTrip
from aibridge_addon.access.policies.rate_limits import LIMITED
from aibridge_addon.access.policies.usable_key import FindPool
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.book import BudgetBook, BudgetedCall, BudgetWarning
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.budget_check import BudgetCheck, BudgetRules, OnBudgetWarning
from aibridge_addon.exchange.limit_queue import LimitQueue
from aibridge_addon.exchange.limit_shares import LimitShares
from aibridge_addon.exchange.shared_limits import SharedLimits
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.observe.budget_room import BudgetRoom
from aibridge_addon.observe.health import LimitsState
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.identity import Actor
from aibridge_addon.report.protocol import Reports


class PolicySet:
    """Decides about each client request, WebSocket message and upstream request of inner loops.

    `apply` must be called before the first decision.
    """

    browser_origin: BrowserOrigin
    must_decide: bool
    """True if a rule of the operator could refuse a request, so that none may pass undecided."""
    _policies: tuple[Policy, ...]
    _changing: tuple[Policy, ...]
    """Policies whose verdict may change from one moment to the next."""
    _counting: tuple[Policy, ...]
    """Policies that count the requests that all policies admit."""
    _guardrails: Guardrails
    _restricted: tuple[Selection, ...]
    """Senders for whom a rule allows some models only."""
    _shares: LimitShares | None = None

    def __init__(
        self,
        *,
        admission: AdmissionControl,
        can_record: Callable[[], bool],
        find_book: Callable[[], BudgetBook | None],
        open_limit_book: Callable[[], LimitBook | None],
        on_budget_warning: OnBudgetWarning,
        find_key_pool: FindPool,
        on_trip: OnTrip,
        metrics: Metrics,
    ) -> None:
        self._find_key_pool = find_key_pool
        self._admission = admission
        self._can_record = can_record
        self._metrics = metrics
        self._on_budget_warning = on_budget_warning
        self._budgets = BudgetCheck(find_book, self._report)
        metrics.registry.register(BudgetRoom(self._budgets.set_aside))
        self._rate_limits = RateLimits(metrics.count_limited)
        self._shared = SharedLimits(metrics.count_limited, open_limit_book)
        self._queue = LimitQueue(self._rate_limits, metrics.show_limit_queue)
        self._circuit_breakers = CircuitBreakers(metrics.show_circuit_breaker, on_trip=on_trip)

    def _report(self, warning: BudgetWarning) -> None:
        self._metrics.count_budget_warning(warning.budget.name, warning.percent)
        self._on_budget_warning(warning)

    def apply(self, settings: Settings, *, own_hosts: Collection[str]) -> None:
        """Rebuild the policies; `own_hosts` are the names that the proxy listens on."""
        self.browser_origin = BrowserOrigin(
            allowed_origins=settings.allowed_origins,
            allowed_hosts=settings.allowed_hosts | frozenset(own_hosts),
        )
        self._shared.apply(settings.limits)
        self._rate_limits.limits = tuple(x for x in settings.limits if not x.is_shared)
        self._guardrails = settings.guardrails
        self._budgets.apply(
            BudgetRules(
                budgets=settings.budgets,
                models=settings.model_rules,
                price=settings.prices.price,
            )
        )
        self._policies = ordered_policies(
            PolicyContext(
                check_admission=self._admission.check,
                browser_origin=self.browser_origin,
                require_actor=settings.require_actor,
                revoked_actors=settings.revoked_actors,
                actor_header=settings.actor_header,
                must_record=settings.refuse_unrecorded,
                can_record=self._can_record,
                model_rules=settings.model_rules,
                budgets=settings.budgets,
                rate_limits=self._rate_limits,
                circuit_breakers=self._circuit_breakers,
                find_key_pool=self._find_key_pool,
            )
        )
        self.must_decide = settings.has_rules or any(map(is_registered, self._policies))
        rules = settings.model_rules
        self._restricted = tuple(rule.selection for rule in rules if rule.allow or rule.deny)
        self._changing = tuple(p for p in self._policies if not getattr(p, "is_constant", False))
        self._counting = tuple(p for p in self._policies if hasattr(p, "admit"))

    def share_limits(self, reports: Callable[[], Reports] | None) -> None:
        """Share the limits with the processes of a store; None: this process is alone."""
        if reports:
            limits = (self._rate_limits, self._shared.local)
            self._shares = LimitShares(limits, lambda: reports().processes())

    def limits_state(self) -> LimitsState | None:
        """Return how the limits count; None without limits."""
        shared = len(self._shared.local.limits)
        if not self._rate_limits.limits and not shared:
            return None
        state: LimitsState = {"processes": self._rate_limits.counters.share.processes}
        if not shared:
            return state
        divided = len(self._rate_limits.limits)
        return {
            **state,
            "divided": divided,
            "shared": shared,
            "together": self._shared.is_available,
        }

    def close(self) -> None:
        """Stop what runs by itself."""
        if self._shares:
            self._shares.close()
        self._shared.close()

    @property
    def handlers(self) -> tuple[Handlers, ...]:
        """Handlers of the facts that the counters need."""
        return (
            self._rate_limits.handlers,
            self._shared.handlers,
            self._queue.handlers,
            self._circuit_breakers.handlers,
            self._budgets.handlers,
        )

    async def decide(self, asked: Asked) -> Refusal | None:
        """Ask the guardrails and budgets too; admit a request, or return its refusal.

        A request for which a limit has no room may wait for it before.
        """
        refusal = find_refusal(self._policies, asked)
        if refusal and refusal.reason != LIMITED:
            return refusal
        # Who would have room waits all the same behind others of the same actor.
        may_wait = (refusal is not None or self._queue.is_waited_in) and asked.may_wait()
        if may_wait and (shortage := self._queue.shortage_of(asked)):
            return await self._queue.wait(asked, shortage) or await self._decide_counted(asked)
        return refusal or await self._decide_unrefused(asked)

    async def _decide_counted(self, asked: Asked) -> Refusal | None:
        """Decide about a request that is counted in its limits; give that back if it is refused."""
        is_admitted = False
        try:
            refusal = find_refusal(self._policies, asked) or await self._decide_unrefused(asked)
            is_admitted = refusal is None
        finally:
            if not is_admitted:
                self._rate_limits.cancel(asked)
        return refusal

    async def _decide_unrefused(self, asked: Asked) -> Refusal | None:
        """Decide about a request that no policy refuses at this moment."""
        call = self._budgets.call_of(asked)
        is_shared = self._shared.counts(asked)
        must_wait = self._guardrails.policies or is_shared
        if not must_wait and (call is None or self._budgets.admit_now(call)):
            self._count(asked, call)
            return None
        refusal = await self._guardrails.check(asked) if self._guardrails.policies else None
        if refusal or not is_shared:
            return refusal or await self._admit(asked, call)
        return await self._shared.take(asked) or await self._admit_shared(asked, call)

    async def _admit_shared(self, asked: Asked, call: BudgetedCall | None) -> Refusal | None:
        """Admit a request that is counted in shared limits; give that back if it is refused."""
        is_admitted = False
        try:
            refusal = await self._admit(asked, call)
            is_admitted = refusal is None
        finally:
            if not is_admitted:
                self._shared.give_back(asked)
        return refusal

    async def _admit(self, asked: Asked, call: BudgetedCall | None) -> Refusal | None:
        """Admit a request that no policy refused so far, or return its refusal."""
        if call is None:
            return admit_or_refuse(self._changing, asked)
        if refusal := await self._budgets.admit(call, asked.may_wait):
            return refusal
        # Meanwhile, others may have used the room.
        if refusal := find_refusal(self._changing, asked):
            await self._budgets.release(call)
        else:
            self._count(asked, call)
        return refusal

    def _count(self, asked: Asked, call: BudgetedCall | None) -> None:
        """Count an admitted request."""
        admit(self._counting, asked)
        if call and call.remaining:
            asked.on_remaining(min(call.remaining))

    def withdraw(self, asked: Asked) -> None:
        """Give back all that a request took whose record does not begin after all."""
        self._rate_limits.cancel(asked)
        self._shared.give_back(asked)
        self._circuit_breakers.cancel(asked)
        if asked.interception:
            self._budgets.withdraw(asked.interception.id)

    async def decide_upstream(self, asked: Asked) -> Refusal | None:
        """Decide about a further request of an exchange, by the access tokens of this moment."""
        await self._admission.refresh(0)
        return await self.decide(asked)

    async def find_spent_budget(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request for which a budget has too little left; count nothing."""
        call = self._budgets.call_of(asked)
        return await self._budgets.find_spent(call) if call else None

    def must_read_messages(self, actor: Actor, provider: str, client: str | None) -> bool:
        """Return True if a guardrail or a model rule judges messages to a provider."""
        return bool(self._guardrails.policies) or any(
            selection.is_for_some_model(actor, provider, client) for selection in self._restricted
        )

    def count(self, asked: Asked) -> None:
        """Count a request in limits and budgets that cannot be refused any more."""
        self._rate_limits.admit(asked)
        self._shared.count(asked)
        if call := self._budgets.call_of(asked):
            self._budgets.hold(call)
