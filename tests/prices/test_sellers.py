"""Sellers of provider instances."""

from dataclasses import replace
from decimal import Decimal

import pytest

from aibridge_addon.prices import price_data, sellers
from aibridge_addon.prices.sellers import Seller, seller_of


@pytest.mark.parametrize(
    ("base_url", "seller_id"),
    [
        ("https://api.anthropic.com", "anthropic"),
        ("https://API.OpenAI.com/v1", "openai"),
        ("https://chatgpt.com/backend-api/codex", "openai"),
        ("https://openrouter.ai./api/v1", "openrouter"),
    ],
)
def test_host_of_the_instance_tells_the_seller(base_url: str, seller_id: str) -> None:
    assert seller_of(base_url) == Seller(id=seller_id)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:4000/v1",
        "https://api.openai.com.example.org/v1",
        "https://notapi.openai.com/v1",
        "https://company.openai.azure.com/openai/v1",
    ],
)
def test_other_host_has_no_seller(base_url: str) -> None:
    assert seller_of(base_url) is None


def test_regional_host_of_openai_and_xai_has_a_surcharge() -> None:
    expected = Seller(id="openai", surcharge=Decimal("1.1"), only_newer_models=True)
    assert seller_of("https://eu.api.openai.com/v1") == expected
    assert seller_of("https://us.api.x.ai/v1") == replace(
        expected, id="x-ai", only_newer_models=False
    )
    assert seller_of("https://eu-west-1.api.x.ai/v1") == Seller(id="x-ai")


def test_configured_seller_wins_over_the_host() -> None:
    assert seller_of("https://api.openai.com/v1", "azure") == Seller(id="azure")


def test_sellers_of_all_hosts_are_in_the_price_data() -> None:
    assert set(sellers._HOSTS.values()) <= set(price_data.seller_ids())
