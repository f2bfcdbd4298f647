"""Costs that providers report themselves."""

import pytest

from aibridge_addon.prices.provider_cost import provider_cost_nano_usd


@pytest.mark.parametrize(
    ("extra", "nano"),
    [
        ({"cost": 0.00014}, 140_000),
        ({"cost": "0.0000000005"}, 1),
        ({"cost": 0}, 0),
        ({"cost": 1e-7}, 100),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ({"cost_in_usd_ticks": 5}, 1),
    ],
)
def test_reported_cost_in_nano_dollars(extra: dict[str, float | str], nano: int) -> None:
    assert provider_cost_nano_usd(extra) == nano


@pytest.mark.parametrize(
    "extra",
    [{}, {"cost": "free"}, {"cost": -1}, {"cost": "NaN"}, {"cost": "1e400"}, {"cost": 1e300}],
)
def test_missing_or_odd_cost_is_unknown(extra: dict[str, float | str]) -> None:
    assert provider_cost_nano_usd(extra) is None
