"""Numbers as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.report.numbers import bar, count, duration, percent, short_count, size


def test_unknown_number_is_a_dash() -> None:
    assert count(None) == short_count(None) == percent(None) == duration(None) == "—"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (123_456, "123k"),
        (999_999, "1.00M"),
        (4_560_000, "4.56M"),
        (999_950_000, "1.00G"),
        (10**13, "10.0T"),
    ],
)
def test_short_count_has_three_digits(number: int, text: str) -> None:
    assert short_count(number) == text


@given(st.integers(0, 10**14))
def test_short_count_fits_into_five_characters(number: int) -> None:
    assert len(short_count(number)) <= 5


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.996, "99%"), (1, "100%")],
)
def test_percentage_is_all_or_nothing_only_if_exact(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (2_449, "2.4s"),
        (59_960, "1m00s"),
        (192_000, "3m12s"),
        (7_500_000, "2h05m"),
    ],
)
def test_duration_has_two_units_at_most(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, ""), (0.001, "▏"), (1, "█▎"), (4, "█████"), (8, "██████████")]
)
def test_bar_is_proportional_and_shows_every_positive_value(value: float, text: str) -> None:
    assert bar(value, 8, 10) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((None, "—"), (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_999, "10.00 kB")),
        *((12_345, "12.3 kB"), (4_560_000, "4.56 MB")),
    ],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text
