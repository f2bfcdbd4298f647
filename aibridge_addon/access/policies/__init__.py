"""Policies: the rules that every client request, WebSocket message and inner-loop request meets.

Each rule is a module of its own. They are pure: what they are given decides. A new rule is a new
module and a line in `ordered_policies`.
"""

from collections.abc import Callable, Iterable

from aibridge_addon.access.policies.access_token import GoodAccessToken
from aibridge_addon.access.policies.asked import Asked, Policy, Refusal
from aibridge_addon.access.policies.browser_origin import BrowserOrigin
from aibridge_addon.access.policies.known_actor import KnownActor
from aibridge_addon.access.policies.provider_key import ProviderKey
from aibridge_addon.access.policies.record_store import RecordStore
from aibridge_addon.access.policies.token_scope import TokenScope
from aibridge_addon.access.sender import Admission

__all__ = ["Asked", "BrowserOrigin", "Policy", "Refusal", "first_refusal", "ordered_policies"]


def ordered_policies(
    *,
    check_admission: Callable[[Admission], None],
    browser_origin: BrowserOrigin,
    require_actor: bool,
    actor_header: str,
    must_record: bool,
    can_record: Callable[[], bool],
) -> tuple[Policy, ...]:
    """Return all policies, in the order in which they are asked."""
    return (
        GoodAccessToken(check_admission),
        browser_origin,
        TokenScope(),
        ProviderKey(),
        *([KnownActor(actor_header)] if require_actor else []),
        *([RecordStore(can_record)] if must_record else []),
    )


def first_refusal(policies: Iterable[Policy], asked: Asked) -> Refusal | None:
    """Return the refusal of the first policy that a request breaks."""
    return next((refusal for policy in policies if (refusal := policy.check(asked))), None)
