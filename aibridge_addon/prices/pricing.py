"""Prices a model call: finds the prices that apply, and multiplies them with its amounts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from aibridge_addon.facts import FREE, PRICING, REQUESTED
from aibridge_addon.prices.aws_models import AWS, model_id
from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError, check_usage
from aibridge_addon.prices.modifiers import Modifiers, modifiers_of
from aibridge_addon.prices.overrides import Override, find_override
from aibridge_addon.prices.price_list import find_rates
from aibridge_addon.prices.rates import (
    PlainRates,
    Rates,
    cost_nano_usd,
    plain_cost,
    plain_rates,
    plain_uncached,
    uncached_nano_usd,
)
from aibridge_addon.prices.regional_surcharges import surcharge_of
from aibridge_addon.prices.sellers import Seller


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """The price of a call."""

    cost_nano_usd: int
    uncached_cost_nano_usd: int | None
    """The price of the same tokens without a cache; None if input has no price."""
    source: str
    """The price that was matched, its modifiers, and its date."""


_MINUTE = len("2026-11-28T12:30")
_UTC = "+00:00"
_MOST_PLAIN = 500
_SEARCH = REQUESTED + "web_search"
_SEARCH_COUNTS = ("web_search_requests", "num_search_queries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """The reason why a call has no price."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tariff:
    """Everything that the price of a call depends on, but its amounts."""

    rates: Rates
    factor: Decimal
    """On the prices of tokens."""
    plain: PlainRates | None
    """The same for calls without details."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The prices that a configuration selects."""

    sellers: Mapping[str, Seller | None] = field(default_factory=dict)
    """By provider instance."""
    overrides: Sequence[Override] = ()
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By provider instance: models by the names that it uses for them."""
    _plain: dict[tuple[str, str | None, str, int], _Tariff] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Tariffs of calls without modifiers and details, such as estimates are made for."""
    _depends_on_prompt: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        steps = any(override.above is not None for override in self.overrides)
        object.__setattr__(self, "_depends_on_prompt", steps)  # as it is frozen

    def price(self, call: BilledCall) -> Priced | Unpriced:
        """Return the price of a model call, or the reason why it has none."""
        models = self.models.get(call.provider_name)
        if models and call.model and call.model in models:
            call = replace(call, model=models[call.model])
        if call.extra or call.unknown or not call.created_at.endswith(_UTC):
            seller = self.sellers.get(call.provider_name)
            return price(call, seller=seller, overrides=self.overrides)
        try:
            tariff = self._plain_tariff(call)
            return _plainly_priced(call, tariff) or _priced(call, tariff)
        except UnpriceableError as error:
            return Unpriced(reason=str(error))

    def _plain_tariff(self, call: BilledCall) -> _Tariff:
        # Prices change at most by the minute.
        prompt_tokens = call.prompt_tokens if self._depends_on_prompt else 0
        key = call.provider_name, call.model, call.created_at[:_MINUTE], prompt_tokens
        found = self._plain.get(key)
        if found is None:
            found = _tariff(call, self.sellers.get(call.provider_name), self.overrides)
            if len(self._plain) >= _MOST_PLAIN:
                self._plain.clear()
            self._plain[key] = found
        return found

    def can_price(self, provider_name: str) -> bool:
        """Return True if calls to a provider instance can have a price."""
        return self.sellers.get(provider_name) is not None or any(
            override.seller in (None, provider_name) for override in self.overrides
        )


def price(
    call: BilledCall, *, seller: Seller | None, overrides: Sequence[Override] = ()
) -> Priced | Unpriced:
    """Return the price of a model call, or the reason why it has none."""
    if call.extra.get(PRICING) == FREE:
        return Priced(cost_nano_usd=0, uncached_cost_nano_usd=0, source="free of charge")
    try:
        return _priced(call, _tariff(call, seller, overrides))
    except UnpriceableError as error:
        return Unpriced(reason=str(error))


def _plainly_priced(call: BilledCall, tariff: _Tariff) -> Priced | None:
    """Return the price of a call without details; None if it must be computed step by step."""
    if tariff.plain is None:
        return None
    cost = uncached = plain_cost(call, tariff.plain)
    if call.cache_read_input_tokens or call.cache_write_input_tokens:
        uncached = plain_uncached(call, tariff.plain)
    if cost is None or uncached is None:
        return None
    return Priced(cost_nano_usd=cost, uncached_cost_nano_usd=uncached, source=tariff.source)


def _priced(call: BilledCall, tariff: _Tariff) -> Priced:
    cost = cost_nano_usd(call, tariff.rates, tariff.factor)
    uncached = _uncached(call, tariff.rates, tariff.factor) if call.uses_cache else cost
    return Priced(cost_nano_usd=cost, uncached_cost_nano_usd=uncached, source=tariff.source)


def _tariff(call: BilledCall, seller: Seller | None, overrides: Sequence[Override]) -> _Tariff:
    if not call.model:
        raise UnpriceableError("neither the response nor the request names a model")
    check_usage(call)
    if _searches_uncounted(call):
        raise UnpriceableError("web searches are billed, and the response states no number of them")
    modifiers = modifiers_of(call)
    rates = _rates(call, call.model, seller, overrides, modifiers.selected)
    surcharge = surcharge_of(seller, call.model)
    factor = modifiers.factor * surcharge
    return _Tariff(
        rates=rates,
        factor=factor,
        plain=plain_rates(rates, factor),
        source=_source(rates, modifiers, surcharge),
    )


def _searches_uncounted(call: BilledCall) -> bool:
    asks = _SEARCH in call.extra
    return asks and not any(name in call.extra for name in _SEARCH_COUNTS)


def _rates(
    call: BilledCall,
    model: str,
    seller: Seller | None,
    overrides: Sequence[Override],
    selected: Mapping[str, str],
) -> Rates:
    if override := find_override(overrides, call, seller, selected):
        return override.rates
    if seller is None:
        raise UnpriceableError(
            f"provider {call.provider_name!r} has no known price list; set its price_as, or add"
            " [[prices]]"
        )
    listed = model_id(model) if seller.id == AWS else model
    return find_rates(seller.id, listed, call.time, selected)


def _uncached(call: BilledCall, rates: Rates, factor: Decimal) -> int | None:
    try:
        return uncached_nano_usd(call, rates, factor)
    except UnpriceableError:
        return None


def _source(rates: Rates, modifiers: Modifiers, surcharge: Decimal) -> str:
    """Return the source with everything that changed the price."""
    parts = [rates.source, *modifiers.selected.values()]
    if modifiers.is_assumed:
        parts.append("standard tier assumed")
    if modifiers.factor != 1:
        parts.append(f"region {modifiers.region} ×{modifiers.factor}")
    if surcharge != 1:
        parts.append(f"regional host ×{surcharge}")
    return ", ".join((*parts, rates.since))
