"""Prices in the config file, `[[prices]]`, and the sellers of provider instances."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated

import pydantic

from aibridge_addon.config.validation import TABLE
from aibridge_addon.prices import price_data, rates
from aibridge_addon.prices.overrides import Override
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.prices.sellers import seller_of
from aibridge_addon.providers.instance import Provider

_MOST = 1_000
_LEAST = 0.0002
"""Between these, in USD, are the prices of all known models, and no price per single token."""

_MODIFIERS = ("service_tier", "speed", "processing")
_NAMES: Mapping[str, str] = {
    "input": rates.INPUT,
    "output": rates.OUTPUT,
    "cache_read": rates.CACHE_READ,
    "cache_write": rates.CACHE_WRITE,
    "cache_write_1h": rates.CACHE_WRITE_1H,
    "audio_input": rates.AUDIO_INPUT,
    "audio_output": rates.AUDIO_OUTPUT,
    "image_output": rates.IMAGE_OUTPUT,
    "web_search": rates.WEB_SEARCH,
    "file_search": rates.FILE_SEARCH,
}
"""Names of prices by the key of the table."""


def _check_price(value: float) -> float:
    if not value >= 0:
        raise ValueError("a price must be 0 or more")
    if value > _MOST:
        raise ValueError(f"must be at most {_MOST}: prices are in USD per million, not per token")
    if 0 < value < _LEAST:
        raise ValueError("must be larger or 0: prices are in USD per million, not per token")
    return value


def _check_modifiers(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name not in _MODIFIERS:
            raise ValueError(f"{name} is not known; known are {', '.join(_MODIFIERS)}")
    return {name: text.lower() for name, text in value.items()}


def check_seller(value: str) -> str:
    """Return the id of a seller of the price data.

    Raises:
        ValueError: it is unknown.
    """
    if value not in (known := price_data.seller_ids()):
        raise ValueError(f"the price data has no such seller; known are {', '.join(known)}")
    return value


type _Price = Annotated[float, pydantic.AfterValidator(_check_price)]
type _Text = Annotated[str, pydantic.StringConstraints(min_length=1)]


class PriceTable(pydantic.BaseModel):
    """Prices of some models, `[[prices]]`, in USD per million tokens."""

    model_config = TABLE

    match: _Text
    seller: _Text | None = None
    since: date | None = pydantic.Field(default=None, alias="from")
    above: Annotated[int, pydantic.Field(ge=0)] | None = None
    modifiers: Annotated[dict[str, str], pydantic.AfterValidator(_check_modifiers)] = {}
    input: _Price
    output: _Price
    cache_read: _Price | None = None
    cache_write: _Price | None = None
    cache_write_1h: _Price | None = None
    audio_input: _Price | None = None
    audio_output: _Price | None = None
    image_output: _Price | None = None
    web_search: _Price | None = None
    file_search: _Price | None = None

    def override(self) -> Override:
        """Return the prices for calculations."""
        written = {name: getattr(self, key) for key, name in _NAMES.items()}
        return Override(
            match=self.match,
            seller=self.seller,
            since=self.since,
            above=self.above,
            modifiers=self.modifiers,
            prices={name: Decimal(str(usd)) for name, usd in written.items() if usd is not None},
        )


def price_book(providers: Collection[Provider], tables: Iterable[PriceTable]) -> PriceBook:
    """Return the prices for the calls to provider instances."""
    return PriceBook(
        sellers={
            provider.name: seller_of(provider.base_url, provider.price_as) for provider in providers
        },
        overrides=[table.override() for table in tables],
        models={provider.name: provider.models for provider in providers if provider.models},
    )
