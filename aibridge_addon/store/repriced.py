"""A recorded call that is priced again, for `Store.reprice`."""

from collections.abc import Callable
from dataclasses import dataclass

from aibridge_addon.facts import Price
from aibridge_addon.prices.billed_call import BilledCall

type PriceCall = Callable[[BilledCall], Price | None]
"""Returns the new price of a call; None: it keeps its price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """A recorded call, and its price before and after."""

    call: BilledCall
    before: Price
    after: Price
