"""Periods in words, read in local time."""

from datetime import UTC, datetime, timedelta

import pytest
from report.zones import zone

from aibridge_addon.report.periods import Period, parse_since, parse_until

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
"""A Sunday in which summer time began in Berlin."""


@pytest.mark.parametrize(
    ("word", "since", "until"),
    [
        ("today", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("yesterday", "2026-03-27T23:00:00", "2026-03-28T23:00:00"),
        ("2026-03-29", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("2026-03-29T10:00", "2026-03-29T08:00:00", "2026-03-29T08:00:00"),
        ("2026-03-29T10:00Z", "2026-03-29T10:00:00", "2026-03-29T10:00:00"),
        ("7d", "2026-03-22T12:00:00", "2026-03-22T12:00:00"),
        ("90m", "2026-03-29T10:30:00", "2026-03-29T10:30:00"),
    ],
)
def test_days_are_local_and_the_end_includes_its_day(word: str, since: str, until: str) -> None:
    with zone("Europe/Berlin"):
        assert parse_since(word, NOON) == datetime.fromisoformat(since).replace(tzinfo=UTC)
        assert parse_until(word, NOON) == datetime.fromisoformat(until).replace(tzinfo=UTC)


def test_day_begins_at_midnight_in_a_half_hour_zone() -> None:
    with zone("Asia/Kolkata"):
        assert parse_since("today", NOON) == datetime(2026, 3, 28, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize("word", ["tomorrow", "7", "7y", "2026-99-99", f"{9**20}d", "٣d"])
def test_unknown_period_is_refused(word: str) -> None:
    for parse in (parse_since, parse_until):
        with pytest.raises((ValueError, OverflowError)):
            parse(word, NOON)


def test_period_is_unbounded_by_default() -> None:
    assert parse_since("all", NOON) is None
    assert parse_until("now", NOON) is None


def test_period_is_shown_in_local_time_with_its_zone() -> None:
    with zone("Europe/Berlin"):
        assert Period(NOON).text() == "2026-03-29 14:00 to now (CEST, UTC+02:00)"
        week = Period(NOON - timedelta(days=7), NOON)
        assert week.text() == "2026-03-22 13:00 to 2026-03-29 14:00 (CET, UTC+01:00)"
        assert Period().text().startswith("all records (CE")
    with zone("Asia/Kolkata"):
        assert Period(NOON).text() == "2026-03-29 17:30 to now (IST, UTC+05:30)"
