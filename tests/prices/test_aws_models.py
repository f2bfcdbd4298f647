"""Model ids of Amazon Bedrock, and their prices."""

from dataclasses import replace

import pytest

from aibridge_addon.prices.aws_models import model_id
from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError
from aibridge_addon.prices.pricing import Priced, Unpriced, price
from aibridge_addon.prices.sellers import Seller

ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012:"
REGIONAL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
GLOBAL = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
CALL = BilledCall(
    provider_name="bedrock",
    model=GLOBAL,
    input_tokens=1_000_000,
    output_tokens=0,
    cache_read_input_tokens=0,
    cache_write_input_tokens=0,
    extra={},
    created_at="2026-11-20T00:00:00",
)
AWS = Seller(id="aws")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (REGIONAL, REGIONAL),
        (f"{ACCOUNT}inference-profile/{REGIONAL}", REGIONAL),
        (
            "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0",
            "amazon.nova-pro-v1:0",
        ),
        ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/a.b-v1", "a.b-v1"),
    ],
)
def test_model_id_is_found_in_an_arn(model: str, expected: str) -> None:
    assert model_id(model) == expected


@pytest.mark.parametrize(
    "resource",
    ["application-inference-profile/abc", "provisioned-model/abc", "foundation-model/", "", "x:y"],
)
def test_arn_that_does_not_name_a_model_has_no_price(resource: str) -> None:
    with pytest.raises(UnpriceableError):
        model_id(ACCOUNT + resource)


def test_regional_profile_costs_a_tenth_more_than_the_global_one() -> None:
    of_all, of_region = (
        price(replace(CALL, model=model), seller=AWS)
        for model in (GLOBAL, f"{ACCOUNT}inference-profile/{REGIONAL}")
    )
    assert isinstance(of_all, Priced)
    assert isinstance(of_region, Priced)
    assert of_all.cost_nano_usd == 3_000_000_000
    assert of_region.cost_nano_usd == 3_300_000_000


def test_application_inference_profile_is_unpriced_with_a_reason() -> None:
    call = replace(CALL, model=f"{ACCOUNT}application-inference-profile/abc")
    found = price(call, seller=AWS)
    assert isinstance(found, Unpriced)
    assert "map it in `models`" in found.reason


@pytest.mark.parametrize("extra", [{"service_tier": "flex"}, {"speed": "optimized"}])
def test_tier_without_a_list_price_is_unpriced(extra: dict[str, str]) -> None:
    assert isinstance(price(replace(CALL, extra=extra), seller=AWS), Unpriced)


def test_default_tier_and_standard_latency_have_the_list_price() -> None:
    extra = {"service_tier": "default", "speed": "standard"}
    assert price(replace(CALL, extra=extra), seller=AWS) == price(CALL, seller=AWS)
