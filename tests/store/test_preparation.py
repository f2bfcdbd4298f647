"""Preparation of facts for a store: prices in the statements, and their facts afterwards."""

from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from store.doubles import ended, started, tokens, tokens_so_far

from aibridge_addon.facts import UsagePriced
from aibridge_addon.prices import recorded_price
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.prices.sellers import Seller
from aibridge_addon.store.preparation import Preparation

BOOK = PriceBook(sellers={"anthropic": Seller(id="anthropic")})
USAGE = tokens(started(), input_tokens=10, output_tokens=20)


class Published(list[UsagePriced]):
    """Collects prices that are published."""

    def __call__(self, facts: Sequence[UsagePriced]) -> None:
        self.extend(facts)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def preparation(published: Published) -> Preparation:
    return Preparation(BOOK, published)


def values(preparation: Preparation, *facts: Any) -> dict[str, Any]:
    """Return the values of the only usage."""
    [found] = [made.values for made in preparation.statements(facts) if "usage" in made.kind]
    return found


def test_statement_of_a_usage_has_its_price(preparation: Preparation) -> None:
    found = values(preparation, USAGE, ended(USAGE.interception))

    # 10 input at $5, 20 output at $25, 30 read at $0.50, 40 written at $6.25, 2 searches at $0.01
    assert found["cost_nano_usd"] == 50_000 + 500_000 + 15_000 + 250_000 + 20_000_000
    assert found["uncached_cost_nano_usd"] == 80 * 5_000 + 500_000 + 20_000_000
    assert found["price_source"].startswith("anthropic/claude-opus-4-5, data of ")
    assert found["unpriced_reason"] is None
    assert found["service_tier"] == "standard"


def test_statement_of_a_usage_has_the_reason_why_it_has_no_price(preparation: Preparation) -> None:
    usage = tokens(started(), model="unheard-of", extra={"cost": 0.25})
    found = values(preparation, usage)

    assert (found["cost_nano_usd"], found["uncached_cost_nano_usd"]) == (None, None)
    assert "no model 'unheard-of'" in found["unpriced_reason"]
    assert found["provider_cost_nano_usd"] == 250_000_000


def test_usage_before_the_end_of_a_stream_is_priced_and_not_published(
    preparation: Preparation, published: Published
) -> None:
    found = values(preparation, tokens_so_far(USAGE))
    preparation.written()

    assert found["cost_nano_usd"] == 50_000 + 15_000 + 250_000
    assert published == []


def test_price_is_published_once_and_after_the_write(
    preparation: Preparation, published: Published
) -> None:
    found = values(preparation, tokens_so_far(USAGE), USAGE)
    assert published == []

    preparation.written()
    preparation.written()

    [fact] = published
    assert fact.usage is USAGE
    assert fact.price.cost_nano_usd == found["cost_nano_usd"]


def test_failed_calculation_loses_no_record(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> NoReturn:
        raise RuntimeError("bad data")

    monkeypatch.setattr(PriceBook, "price", fail)
    found = values(preparation, USAGE)

    assert found["output_tokens"] == 20
    assert found["cost_nano_usd"] is None
    assert found["unpriced_reason"].startswith("the calculation failed")
    assert "bad data" in caplog.text
    assert caplog.records[0].name == recorded_price.__name__


def test_new_prices_apply_to_later_facts(preparation: Preparation) -> None:
    preparation.prices = PriceBook()
    assert "has no known price list" in values(preparation, USAGE)["unpriced_reason"]


def test_calls_are_not_priced_without_prices() -> None:
    found = values(Preparation(), USAGE)
    assert (found["cost_nano_usd"], found["unpriced_reason"]) == (None, None)
