"""Reads prices from genai-prices: offline data that is part of the installed package."""

import logging
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from aibridge_addon.prices import price_data
from aibridge_addon.prices.billed_call import UnpriceableError
from aibridge_addon.prices.rates import Price, Rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

logger = logging.getLogger(__name__)

_RELEASED: Mapping[str, date] = {"0.2.3": date(2026, 11, 10)}
"""Date of the data by version of the package, which does not state it."""

_OLD_DAYS = 60

_DATED = re.compile(r"([-@](\d{8}|\d{4}-\d{2}-\d{2}|\d{4}|latest))$")


@cache
def data_date() -> date | None:
    """Return the date of the price data; None for a version that is newer than this module."""
    return _RELEASED.get(version("genai-prices"))


def is_old(today: date) -> bool:
    """Return True if the price data is so old that many prices may have changed."""
    known = data_date()
    return known is not None and (today - known).days > _OLD_DAYS


@cache
def data_label() -> str:
    """Return the price data's date for people, or else its version."""
    known = data_date()
    return known.isoformat() if known else f"genai-prices {version('genai-prices')}"


def find_rates(seller_id: str, model: str, at: datetime, selected: Mapping[str, str]) -> Rates:
    """Return the prices of a model at a moment.

    Args:
        seller_id: whose prices.
        model: the model as the provider names it.
        at: selects among prices that change with the date or the time of day.
        selected: the modifiers that select a variant of the prices; empty: the standard prices.

    Raises:
        UnpriceableError: the data has no such seller, model or variant.
    """
    # Prices change at most by the minute.
    minute = at.replace(second=0, microsecond=0)
    return _find_rates(seller_id, model, minute, tuple(selected.items()))


def is_same_model(model: str, listed: str) -> bool:
    """Return True if a model is a listed model or a dated form of it."""
    return _undated(model) == _undated(listed)


@lru_cache(maxsize=256)
def _find_rates(
    seller_id: str, model: str, at: datetime, items: tuple[tuple[str, str], ...]
) -> Rates:
    provider, info = _find(seller_id, model)
    if selected := dict(items):
        _check_variant(provider, info, at, selected)
    source = f"{provider.id}/{info.id}"
    if not is_same_model(model, info.id):
        source += f" for {model}"
    return Rates(
        prices=_prices(info.get_prices(at, selected)),
        source=source,
        since=f"data of {data_label()}",
    )


def _undated(model: str) -> str:
    return _DATED.sub("", model.lower())


def _find(seller_id: str, model: str) -> "tuple[Provider, ModelInfo]":
    providers = price_data.providers_of(seller_id)
    if not providers:
        raise UnpriceableError(f"the price data has no seller {seller_id!r}")
    info = _find_model(seller_id, model)
    if info is None:
        raise UnpriceableError(f"the price data has no model {model!r} of {seller_id}")
    return providers[0], info


@lru_cache(maxsize=1024)
def _find_model(seller_id: str, model: str) -> "ModelInfo | None":
    providers = price_data.providers_of(seller_id)
    info = providers[0].find_model(model, all_providers=list(providers))
    if info and not is_same_model(model, info.id):
        logger.warning("aibridge: %s of %s is priced as %s", model, seller_id, info.id)
    return info


def _check_variant(
    provider: "Provider", info: "ModelInfo", at: datetime, selected: Mapping[str, str]
) -> None:
    """Raise `UnpriceableError` if genai-prices would silently apply the standard price."""
    if not any(info is own for own in provider.models):
        raise UnpriceableError(f"{provider.id} has no prices of its own for {info.id}")
    for variant in info.price_variants or ():
        is_active = variant.constraint is None or variant.constraint.active(at)
        if variant.when == selected and is_active:
            return
    named = ", ".join(f"{name}={value}" for name, value in selected.items())
    raise UnpriceableError(f"{provider.id}/{info.id} has no price for {named}")


def _prices(listed: "ModelPrice") -> dict[str, Price]:
    return {name: _price(value) for name, value in vars(listed).items() if value is not None}


def _price(value: "Decimal | TieredPrices") -> Price:
    if isinstance(value, Decimal):
        return Price(base=value)
    return Price(base=value.base, tiers=[(tier.start, tier.price) for tier in value.tiers])
