"""Modifiers of prices that a response reports: service tier, speed, batch, region. Pure.

The requested tier counts only if the response reports none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from aibridge_addon.facts import REQUESTED
from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError

_STANDARD: Mapping[str, frozenset[str]] = {
    "service_tier": frozenset({"", "auto", "default", "on_demand", "standard", "standard_only"}),
    "speed": frozenset({"", "standard"}),
}
_REGIONS: Mapping[str, Decimal] = {
    "": Decimal(1),
    "global": Decimal(1),
    "not_available": Decimal(1),
    "us": Decimal("1.1"),
}
"""Factors on the prices of tokens by `inference_geo`."""
_NO_REPORT = ("", "auto", "not_available")
"""Labels that report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modifiers:
    """Everything that changes the standard price of a call."""

    selected: Mapping[str, str]
    """Selects a variant of the price, as genai-prices names it; empty: the standard price."""
    factor: Decimal
    """On the prices of tokens."""
    region: str
    is_assumed: bool
    """True if the response does not state the tier that the provider was to choose."""


_NONE = Modifiers(selected={}, factor=Decimal(1), region="", is_assumed=False)


def modifiers_of(call: BilledCall) -> Modifiers:
    """Read the modifiers of a call.

    Raises:
        UnpriceableError: the region has no known price.
    """
    if not call.extra:
        return _NONE
    region = _effective(call, "inference_geo")
    if region not in _REGIONS:
        raise UnpriceableError(f"no price is known for the region {region!r}")
    selected = {}
    for name, standard in _STANDARD.items():
        value = _effective(call, name)
        if value not in standard:
            name, value = ("processing", value) if value == "batch" else (name, value)
            selected[name] = value
    return Modifiers(
        selected=selected,
        factor=_REGIONS[region],
        region=region,
        is_assumed=_effective(call, "service_tier") == "auto",
    )


def _effective(call: BilledCall, name: str) -> str:
    """Return the reported label, or else the requested one."""
    reported = _label(call, name)
    return _label(call, REQUESTED + name) or reported if reported in _NO_REPORT else reported


def _label(call: BilledCall, name: str) -> str:
    value = call.extra.get(name, "")
    return value.lower() if isinstance(value, str) else ""
