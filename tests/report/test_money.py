"""Amounts of money as text."""

import pytest

from aibridge_addon.report.money import exact_usd, short_usd, usd


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "—"),
        (0, "$0.00"),
        (12_300_000_000, "$12.30"),
        (12_300_000, "$0.0123"),
        (1_234_567_890_000, "$1,234.57"),
        (999_999_999, "$1.0000"),
        (50_000, "$0.0001"),
        (49_999, "<$0.0001"),
        (1, "<$0.0001"),
        (-12_300_000_000, "-$12.30"),
    ],
)
def test_amount_is_shown_with_digits_that_matter(nano: int | None, text: str) -> None:
    assert usd(nano) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "—"),
        (0, "$0.00"),
        (12_300_000_000, "$12.30"),
        (999_999_999, "$1.00"),
        (369_000_000, "$0.37"),
        (12_300_000, "$0.012"),
        (1_234_000, "$0.0012"),
        (123_400, "$0.0001"),
        (1, "<$0.0001"),
    ],
)
def test_short_amount_keeps_two_digits_that_matter(nano: int | None, text: str) -> None:
    assert short_usd(nano) == text


def test_exact_amount_has_all_nano_dollars() -> None:
    assert exact_usd(1_000_000_001) == "1.000000001"
    assert exact_usd(0) == "0.000000000"
    assert exact_usd(None) == ""
