"""Policies: the rules that every client request, WebSocket message and inner-loop request meets.

Each rule is a module of its own and a row of `_FACTORIES`. A policy decides by its arguments, and
may count the requests that all policies admit. Modules outside of this package use `register`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aibridge_addon.access.asked import Asked, Policy, Refusal, checked
from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.policies.access_token import ValidAccessToken
from aibridge_addon.access.policies.browser_origin import BrowserOrigin
from aibridge_addon.access.policies.circuit_breaker import CircuitBreakers
from aibridge_addon.access.policies.known_actor import KnownActor
from aibridge_addon.access.policies.model_rules import ModelRules
from aibridge_addon.access.policies.provider_key import ProviderKey
from aibridge_addon.access.policies.rate_limits import RateLimits
from aibridge_addon.access.policies.record_store import RecordStore
from aibridge_addon.access.policies.revoked_actors import RevokedActors
from aibridge_addon.access.policies.signed_token import SignedToken
from aibridge_addon.access.policies.token_limits import TokenLimits
from aibridge_addon.access.policies.unread_calls import UnreadCalls
from aibridge_addon.access.policies.usable_key import FindPool, UsableKey
from aibridge_addon.access.sender import Admission

__all__ = [
    "Asked",
    "BrowserOrigin",
    "CircuitBreakers",
    "Policy",
    "PolicyContext",
    "PolicyFactory",
    "RateLimits",
    "Refusal",
    "admit",
    "admit_or_refuse",
    "find_refusal",
    "is_registered",
    "ordered_policies",
    "register",
]

logger = logging.getLogger(__name__)

POLICY_FAILED = "policy_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContext:
    """Settings and checks that policies are built from."""

    check_admission: Callable[[Admission], None]
    """Raises `TokenError` if the access token is missing, unknown, expired or revoked."""
    browser_origin: BrowserOrigin
    require_actor: bool = False
    revoked_actors: tuple[str, ...] = ()
    actor_header: str = ""
    must_record: bool = False
    """True if requests that cannot be recorded are refused."""
    can_record: Callable[[], bool] = lambda: True
    model_rules: tuple[ModelRule, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    rate_limits: RateLimits | None = None
    circuit_breakers: CircuitBreakers | None = None
    find_key_pool: FindPool = lambda name: None


type PolicyFactory = Callable[[PolicyContext], Policy | None]
"""Builds a policy each time the settings are read; returns None if they switch it off."""

_FACTORIES: list[PolicyFactory] = [
    lambda context: ValidAccessToken(context.check_admission),
    lambda context: RevokedActors(context.revoked_actors) if context.revoked_actors else None,
    lambda context: context.browser_origin,
    lambda context: TokenLimits(),
    lambda context: ModelRules(context.model_rules) if context.model_rules else None,
    lambda context: ProviderKey(),
    lambda context: SignedToken(),
    lambda context: KnownActor(context.actor_header) if context.require_actor else None,
    lambda context: RecordStore(context.can_record) if context.must_record else None,
    lambda context: UnreadCalls(context.budgets) if context.budgets else None,
    lambda context: UsableKey(context.find_key_pool),
    lambda context: (
        context.rate_limits if context.rate_limits and context.rate_limits.limits else None
    ),
    lambda context: context.circuit_breakers,
]
_REGISTERED: list[PolicyFactory] = []


def register(factory: PolicyFactory) -> None:
    """Add a policy from outside of this package; it is checked after the built-in policies.

    Modules that call this are named by the option `aibridge_plugins`.
    """
    _REGISTERED.append(factory)


def ordered_policies(context: PolicyContext) -> tuple[Policy, ...]:
    """Build all policies, in the order in which they are checked."""
    built_in = [policy for factory in _FACTORIES if (policy := factory(context))]
    registered = [policy for factory in _REGISTERED if (policy := factory(context))]
    return (*built_in, *map(_Guarded, registered))


def is_registered(policy: Policy) -> bool:
    """Return True for a policy from outside of this package."""
    return isinstance(policy, _Guarded)


def find_refusal(policies: Iterable[Policy], asked: Asked) -> Refusal | None:
    """Return the refusal of the first policy that a request breaks; count nothing."""
    for policy in policies:
        if refusal := policy.check(asked):
            return refusal
    return None


def admit_or_refuse(policies: Sequence[Policy], asked: Asked) -> Refusal | None:
    """Return the refusal of the first policy that a request breaks; otherwise admit the request.

    All policies are asked before any of them counts it: a refused request consumes nothing.
    """
    refusal = find_refusal(policies, asked)
    if refusal is None:
        admit(policies, asked)
    return refusal


def admit(policies: Iterable[Policy], asked: Asked) -> None:
    """Have the policies count a request that none of them refuses."""
    for policy in policies:
        if count := getattr(policy, "admit", None):
            count(asked)


class _Guarded:
    """Refuses a request if a policy from outside raises: a broken rule must not let it through."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of the policy, or a refusal because the policy failed."""
        try:
            return checked(self._policy.check(asked))
        except Exception:
            name = type(self._policy).__name__
            logger.exception("aibridge: the policy %s failed; the request is refused", name)
            message = f"aibridge: the policy {name} of this proxy failed. Its log has the error."
            return Refusal(status=400, reason=POLICY_FAILED, message=message)

    def admit(self, asked: Asked) -> None:
        """Have the policy count an admitted request, if it does so."""
        try:
            admit((self._policy,), asked)
        except Exception:
            logger.exception(
                "aibridge: the policy %s failed to count a request", type(self._policy).__name__
            )
